// POST an image and an audio file as the form fields `image` and `audio`; the answer is the map over the image, or
// with `Accept: application/json` its boxes. MODEL is the path of a checkpoint.
import express from "express";
import multer from "multer";
import { Model, SoundspotError } from "soundspot";

const model = await Model.load(process.env.MODEL ?? "model.safetensors");
const upload = multer({ limits: { files: 2, fileSize: 20 * 2 ** 20 } }); // held in memory
const app = express();

app.post("/localize", upload.fields([{ name: "image" }, { name: "audio" }]), async (request, response) => {
  const [image] = request.files?.image ?? [];
  const [audio] = request.files?.audio ?? [];
  if (!image || !audio) {
    throw new SoundspotError("ERR_INPUT", "Send an image file as image and an audio file as audio.");
  }
  const left = new AbortController(); // fires when the client has gone
  response.on("close", () => left.abort());
  const { signal } = left;
  const spot = await model.localize({ image: image.buffer, audio: audio.buffer }, { refine: "iqr", signal });
  const { width, height, confidence, boxes } = spot;
  if (request.accepts(["image/png", "application/json"]) === "application/json") {
    response.json({ width, height, confidence, boxes });
  } else {
    response.type("png").send(await spot.overlay({ signal }));
  }
});

const callersFault = /^ERR_(INPUT|FILE_EMPTY|MEDIA_DECODE|AUDIO_EMPTY|AUDIO_NOT_FINITE)$/;

app.use((error, _request, response, _next) => {
  if (response.headersSent || response.destroyed) return;
  const { code, message } = error;
  if (error instanceof multer.MulterError) {
    response.status(code === "LIMIT_FILE_SIZE" ? 413 : 400).json({ code, message });
  } else if (callersFault.test(code)) response.status(400).json({ code, message });
  else {
    console.error(error);
    response.status(500).json({ code: "ERR_INTERNAL", message: "The server failed; its log says why." });
  }
});

const server = app.listen(process.env.PORT ?? 3000, (error) => {
  if (error) throw error;
  console.log(`http://localhost:${server.address().port}`);
});

process.once("SIGTERM", () => server.close(() => model.dispose()));
