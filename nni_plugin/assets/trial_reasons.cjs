// Loaded into NNI's manager by NODE_OPTIONS=--require. NNI's table of trials has a column
// "Message", and nothing on NNI's side ever fills it. So the tuner's journal does: why a trial
// failed or was stopped.
"use strict";
const fs = require("fs");
const path = require("path");

const LONGEST = 300;

function loaded(name) {
  const file = Object.keys(require.cache).find((found) => found.endsWith(name));
  return file && require.cache[file].exports;
}

// The reasons by NNI's id of a trial. Only what the journal gained is read.
class Reasons {
  constructor(file) {
    this.file = file;
    this.offset = 0;
    this.byTrial = new Map();
  }

  refresh() {
    let opened;
    try {
      opened = fs.openSync(this.file, "r");
    } catch {
      return;   // another tuner's experiment, or not begun yet
    }
    try {
      const size = fs.fstatSync(opened).size - this.offset;
      if (size <= 0) return;
      const bytes = Buffer.alloc(size);
      fs.readSync(opened, bytes, 0, size, this.offset);
      const end = bytes.lastIndexOf("\n") + 1;
      this.offset += end;
      for (const line of bytes.toString("utf8", 0, end).split("\n")) this.take(line);
    } finally {
      fs.closeSync(opened);
    }
  }

  take(line) {
    let event;
    try {
      event = JSON.parse(line);
    } catch {
      return;
    }
    const trial = event && (event.trial || event.job);
    if (!trial) return;
    if (event.event === "fail" || event.event === "censor") {
      const how = event.event === "fail" ? "" : "stopped early: ";
      this.byTrial.set(trial, how + String(event.reason || "").slice(0, LONGEST));
    } else if (event.event === "tell") {
      this.byTrial.delete(trial);
    }
  }
}

// The manager's own modules are loaded by now, and it has not yet been asked anything.
setImmediate(() => {
  const core = loaded("/core/nnimanager.js");
  const globals = loaded("/common/globals/index.js");
  if (!core || !core.NNIManager || !globals || !globals.globals) return;
  const reasons = new Reasons(
    path.join(globals.globals.paths.experimentRoot, "checkpoint", "journal.jsonl"));
  const list = core.NNIManager.prototype.listTrialJobs;
  core.NNIManager.prototype.listTrialJobs = async function (status) {
    const jobs = await list.call(this, status);
    reasons.refresh();
    for (const job of jobs) job.message = reasons.byTrial.get(job.trialJobId) || job.message;
    return jobs;
  };
});
