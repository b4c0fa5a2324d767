// Loaded into NNI's manager by NODE_OPTIONS=--require. The manager has no login and runs what it
// is sent, so it must not listen on every interface, which is all NNI offers.
"use strict";
const net = require("net");
const host = process.env.JOINT_GA_HOST || "127.0.0.1";
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  if (typeof args[0] === "number" && typeof args[1] !== "string") {
    return listen.call(this, args[0], host, ...args.slice(1));
  }
  return listen.apply(this, args);
};
// Trials inherit this process's environment; their own node programs are none of our business.
if (process.env.JOINT_GA_NODE_OPTIONS) {
  process.env.NODE_OPTIONS = process.env.JOINT_GA_NODE_OPTIONS;
} else {
  delete process.env.NODE_OPTIONS;
}
delete process.env.JOINT_GA_NODE_OPTIONS;
delete process.env.JOINT_GA_HOST;
