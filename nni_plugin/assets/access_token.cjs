// Who may talk to a manager that listens beyond this machine: whoever has the token that joint-ga
// made. This machine itself needs none, since NNI's tuner, its local trials and nnictl can't send
// one.
"use strict";
const crypto = require("crypto");
const path = require("path");

const token = process.env.JOINT_GA_TOKEN || "";
delete process.env.JOINT_GA_TOKEN;

function isLoopback(address) {
  return address === "localhost" || address === "::1" || /^(::ffff:)?127\./.test(address || "");
}

function digest(text) {
  return crypto.createHash("sha256").update(text).digest();
}

function isToken(text) {
  return token !== "" && typeof text === "string" &&
    crypto.timingSafeEqual(digest(text), digest(token));
}

// A browser sends a host's cookies to all of its ports: each manager's has a name of its own.
function cookieName(request) {
  return `joint_ga_${request.socket.localPort}`;
}

function ofCookie(request) {
  const parts = (request.headers.cookie || "").split(";").map((part) => part.trim());
  const name = `${cookieName(request)}=`;
  return parts.filter((part) => part.startsWith(name)).map((part) => part.slice(name.length))[0];
}

// The address without its token, and that token: NNI has no use for it, and its logs no need.
function withoutToken(url) {
  const [place, ...rest] = url.split("?");
  const query = new URLSearchParams(rest.join("?"));
  const found = query.get("token");
  if (found === null) return [url, undefined];
  query.delete("token");
  const left = query.toString();
  return [left ? `${place}?${left}` : place, found];
}

// What a request brings: whether its token is right, and whether a browser should swap an address
// with the token in it for a cookie.
function presented(request) {
  const [url, ofQuery] = withoutToken(request.url);
  const bearer = /^Bearer +(\S+) *$/i.exec(request.headers.authorization || "");
  const isQuery = isToken(ofQuery);
  const isPage = request.method === "GET" && /text\/html/.test(request.headers.accept || "");
  if (ofQuery !== undefined) request.url = url;
  return {
    isRight: isQuery || isToken(bearer && bearer[1]) || isToken(ofCookie(request)),
    isForCookie: isQuery && isPage,
  };
}

// Answers with the same address without the token, and a cookie in its place.
function giveCookie(request, response) {
  response.writeHead(303, {
    Location: request.url.replace(/^\/+/, "/"),
    "Set-Cookie": `${cookieName(request)}=${token}; Path=/; HttpOnly; SameSite=Strict`,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
  });
  response.end();
}

function refusal(request) {
  if (isLoopback(request.socket.remoteAddress)) return null;
  return [401, "from another machine this manager wants its token: open the address with ?token= " +
    "that joint-ga run printed, or send 'Authorization: Bearer TOKEN' (the token is in the file " +
    "manager_token of the experiment's folder); or come through SSH: " +
    `ssh -L ${request.socket.localPort}:127.0.0.1:${request.socket.localPort} THIS_MACHINE`];
}

// The trial keepers of NNI's remote service call back from their machines, so they get an address
// with the token.
function tellTrialKeepers(loaded) {
  const rest = loaded("/common/globals/rest.js");
  if (token === "" || !rest) return;
  const { getFullUrl } = rest.RestManager.prototype;
  rest.RestManager.prototype.getFullUrl = function (protocol, ip, ...parts) {
    const url = getFullUrl.call(this, protocol, ip, ...parts);
    if (isLoopback(ip)) return url;
    hideFromOthers(loaded("/training_service/remote_v3/ssh.js"));
    return `${url}?token=${token}`;
  };
}

// That address stands in a file there, which is not for the machine's other users.
function hideFromOthers(ssh) {
  if (!ssh || ssh.Ssh.prototype.writeFile.isHiding) return;
  const { writeFile } = ssh.Ssh.prototype;
  ssh.Ssh.prototype.writeFile = async function (file, data) {
    // Windows has no chmod, and a user's files there are private.
    await this.exec(`chmod 700 '${path.dirname(file).replace(/'/g, "'\\''")}'`);
    return writeFile.call(this, file, data);
  };
  ssh.Ssh.prototype.writeFile.isHiding = true;
}

module.exports = { giveCookie, isLoopback, presented, refusal, tellTrialKeepers };
