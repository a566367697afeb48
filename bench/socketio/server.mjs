// A Socket.IO server for bench --protocol socketio: the first byte of a message says what is to be
// done with it, as with business-worker --app bench.
import { Server } from "socket.io";

const io = new Server(Number(process.env.PORT), {
  transports: ["websocket"],
  serveClient: false,
});

// Whom a message is for: what stands behind its last @.
const name = (message) => message.slice(message.lastIndexOf("@") + 1);

io.on("connection", (socket) => {
  socket.on("m", (message) => {
    switch (message[0]) {
      case "e":
        break;
      case "j":
        socket.join(`group ${message.slice(1)}`);
        break;
      case "+":
        socket.join(`group ${name(message)}`);
        break;
      case "-":
        socket.leave(`group ${name(message)}`);
        break;
      case "u":
        socket.join(`uid ${message.slice(1)}`);
        break;
      case "a":
        io.emit("m", message);
        return;
      case "g":
        io.to("group room").emit("m", message);
        return;
      case "t":
        io.to(`uid ${name(message)}`).emit("m", message);
        return;
      default:
        return;
    }
    socket.emit("m", message);
  });
});

process.on("SIGTERM", () => process.exit(0));
