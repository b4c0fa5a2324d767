// Loaded into NNI's manager by NODE_OPTIONS=--require. NNI writes each result into its database
// and then tells the tuner, and of two writes the second may be through first. So each waits for
// the one before: of two results of a trial the first one stays the first.
"use strict";

// The manager's own modules are loaded by now, and no trial has been started.
setImmediate(() => {
  const file = Object.keys(require.cache).find((path) => path.endsWith("/core/nnimanager.js"));
  const manager = file && require.cache[file].exports.NNIManager;
  if (!manager || !manager.prototype.onTrialJobMetrics) return;
  const take = manager.prototype.onTrialJobMetrics;
  let last = Promise.resolve();
  manager.prototype.onTrialJobMetrics = function (metric) {
    const taken = last.then(() => take.call(this, metric));
    last = taken.catch(() => {});
    return taken;
  };
});
