// Loaded into NNI's manager by NODE_OPTIONS=--require. NNI gives its tuner 10 seconds to start and
// connect, which no tuner keeps on a machine with twenty busy processes. So this waits longer, and
// says at once if the tuner's process has ended instead.
"use strict";
const PATIENCE_MS = 180000;
const LOOK_MS = 500;

function loaded(name) {
  const file = Object.keys(require.cache).find((path) => path.endsWith(name));
  return file && require.cache[file].exports;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

// The manager's own modules are loaded by now, and it has not yet been asked anything.
setImmediate(() => {
  const channel = loaded("/core/tuner_command_channel.js");
  const shim = loaded("/common/ioc_shim.js");
  const manager = loaded("/common/manager.js");
  if (!channel || !shim || !manager) return;
  const server = channel.getTunerServer();
  server.init = function () {
    const start = Date.now();
    const timer = setInterval(() => {
      const pid = shim.IocShim.get(manager.Manager).dispatcherPid;
      let reason = "";
      if (pid > 0 && !isAlive(pid)) reason = "Tuner ended before it connected";
      else if (Date.now() - start > PATIENCE_MS) {
        reason = `Tuner did not connect in ${PATIENCE_MS / 1000} seconds`;
      }
      if (reason && !this.connect.settled) {
        this.connect.reject(new Error(`tuner_command_channel: ${reason}. Please check tuner ` +
          "(dispatcher) log."));
      }
      if (this.connect.settled) clearInterval(timer);
    }, LOOK_MS);
    return this.connect.promise;
  };
});
