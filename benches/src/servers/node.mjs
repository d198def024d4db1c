// Node's http with the handlers of contract.rs: node node.mjs PORT HANDLER

import { createServer } from "node:http";

const [port, name] = process.argv.slice(2);
const large = "x".repeat(1024 * 1024);

function answer(response, body) {
	response.writeHead(200, { "Content-Length": Buffer.byteLength(body) });
	response.end(body);
}

const handlers = {
	hello: (request, response) => answer(response, "Hello, World!"),
	read: (request, response) => {
		const { searchParams } = new URL(request.url, "http://localhost");
		answer(response, `${request.headers["x-greeting"]}, ${searchParams.get("name")}!`);
	},
	echo: (request, response) => {
		const pieces = [];
		request.on("data", (piece) => pieces.push(piece));
		request.on("end", () => answer(response, Buffer.concat(pieces)));
	},
	large: (request, response) => answer(response, large),
	wait: (request, response) => setImmediate(() => answer(response, "Hello, World!")),
};

const server = createServer({ keepAliveTimeout: 60_000 }, handlers[name]);
server.listen(Number(port), "127.0.0.1");
