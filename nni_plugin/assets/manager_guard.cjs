// Loaded into NNI's manager by NODE_OPTIONS=--require. The manager has no login and runs what it
// is sent. So it must not listen on every interface, which is all NNI offers, and it must not
// take requests that a foreign web page makes a browser of this machine send.
"use strict";
const fs = require("fs");
const http = require("http");
const net = require("net");
const os = require("os");
const access = require("./access_token.cjs");

function loaded(name) {
  const file = Object.keys(require.cache).find((path) => path.endsWith(name));
  return file && require.cache[file].exports;
}

// ---- where it listens

const host = process.env.JOINT_GA_HOST || "127.0.0.1";
const listen = net.Server.prototype.listen;
// The manager's own. NNI's services for clusters have others, whose callers can't be told a token.
const managers = new WeakSet();
net.Server.prototype.listen = function (...args) {
  if (typeof args[0] !== "number" || typeof args[1] === "string") return listen.apply(this, args);
  managers.add(this);
  if (host === "*") return listen.apply(this, args);
  if (host !== "127.0.0.1" && host !== "localhost" && args[0] !== 0 && this instanceof http.Server) {
    listenOnLoopback(this, args[0]);
  }
  return listen.call(this, args[0], host, ...args.slice(1));
};

// NNI's tuner, its local trials and nnictl look for the manager there, whatever the address.
function listenOnLoopback(server, port) {
  const twin = net.createServer((socket) => server.emit("connection", socket));
  twin.on("error", (error) => server.emit("error", error));
  listen.call(twin, port, "127.0.0.1");
  const { close } = server;
  server.close = function (...args) {
    twin.close();
    return close.apply(this, args);
  };
}

// ---- whom it answers

// A name that is not this machine's own may have been bound to 127.0.0.1 by a stranger (DNS
// rebinding). An address can't be: it is what the sender dialled. Ports are free, since SSH may
// forward another one.
const names = new Set(["localhost", os.hostname().toLowerCase()]);
for (const name of [host, ...(process.env.JOINT_GA_NAMES || "").split(",")]) {
  if (name && name !== "*") names.add(name.toLowerCase());
}

function isOwn(authority) {
  const match = /^(\[[0-9a-f:.]+\]|[^:]+)(:\d+)?$/i.exec(authority || "");
  if (!match) return false;
  const name = match[1].replace(/^\[|\]$/g, "").toLowerCase();
  return net.isIP(name) !== 0 || names.has(name);
}

// Why a request is refused: [status, reason]; null if it is not. With the token in it a request is
// not a stranger's, under whatever name it came; but another port's page may make a browser send it.
function refusal(request, isUpgrade, isManager, hasToken) {
  const { host: authority, origin, "sec-fetch-site": site, "content-type": type } = request.headers;
  if (!hasToken && !isOwn(authority)) {
    return [403, `Host ${JSON.stringify(authority || "")} is not a name of this machine: open the ` +
      "address that joint-ga run printed, or give --host"];
  }
  if (origin !== undefined && origin.replace(/^https?:\/\//, "") !== authority) {
    return [403, `Origin ${JSON.stringify(origin)} is another site's`];
  }
  const isLink = request.method === "GET" && request.headers["sec-fetch-mode"] === "navigate" &&
    request.headers["sec-fetch-dest"] === "document";
  if (site !== undefined && site !== "same-origin" && site !== "none" && !isLink) {
    return [403, "the request comes from another site's page"];
  }
  const unknown = isManager && !hasToken && access.refusal(request);
  if (unknown) return unknown;
  if (isUpgrade) return null;
  if (["POST", "PUT", "PATCH"].includes(request.method) &&
      !/^application\/json\s*(;|$)/i.test(type || "")) {
    return [415, `Content-Type ${JSON.stringify(type || "")}: only application/json is taken`];
  }
  // NNI hands these to a public web site, and its manager ends if there is no network.
  if (/\/netron(\/|\?|$)/i.test(request.url)) return [403, "/netron is not served"];
  return null;
}

const emit = http.Server.prototype.emit;
http.Server.prototype.emit = function (event, request, target, ...rest) {
  const isUpgrade = event === "upgrade";
  if (isUpgrade || event === "request" || event === "checkContinue") {
    const token = access.presented(request);
    const refused = refusal(request, isUpgrade, managers.has(this), token.isRight);
    if (refused) {
      const [status, reason] = refused;
      const body = `joint-ga: ${reason}\n`;
      const head = { "Content-Type": "text/plain; charset=utf-8", Connection: "close" };
      if (status === 401) head["WWW-Authenticate"] = "Bearer";
      if (isUpgrade) {
        target.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
      } else {
        target.writeHead(status, head);
        target.end(body);
      }
      return true;
    }
    if (token.isForCookie && !isUpgrade) {
      access.giveCookie(request, target);
      return true;
    }
  }
  return emit.call(this, event, request, target, ...rest);
};

// ---- what it leaves to others

// NNI's own modules are loaded by then, and it does not listen yet.
setImmediate(() => {
  access.tellTrialKeepers(loaded);
  // NNI makes the experiment's folder for everybody to read. Whoever opens it later keeps it open.
  const { args, paths } = global.nni || {};
  if (args && args.action === "create") fs.chmodSync(paths.experimentRoot, 0o700);
});

// Trials inherit this process's environment; their own node programs are none of our business.
if (process.env.JOINT_GA_NODE_OPTIONS) {
  process.env.NODE_OPTIONS = process.env.JOINT_GA_NODE_OPTIONS;
} else {
  delete process.env.NODE_OPTIONS;
}
delete process.env.JOINT_GA_NODE_OPTIONS;
delete process.env.JOINT_GA_HOST;
delete process.env.JOINT_GA_NAMES;
