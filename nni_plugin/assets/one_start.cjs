// Loaded into NNI's manager by NODE_OPTIONS=--require. Another start on this machine that chose the
// same port at the same moment may take this manager for its own. NNI would start its experiment a
// second time, and then run each trial twice. So the first start counts, and the other is refused.
"use strict";

// The manager's own modules are loaded by now, and it has not yet been asked anything.
setImmediate(() => {
  const file = Object.keys(require.cache).find((path) => path.endsWith("/core/nnimanager.js"));
  const manager = file && require.cache[file].exports.NNIManager;
  if (!manager) return;
  let isStarted = false;
  for (const name of ["startExperiment", "resumeExperiment"]) {
    const begin = manager.prototype[name];
    manager.prototype[name] = function (...args) {
      if (isStarted) return Promise.reject(new Error("this manager has an experiment already"));
      isStarted = true;
      return begin.apply(this, args);
    };
  }
});
