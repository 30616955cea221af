// Started by locator.mjs, by Node.js.
import { Model } from "soundspot";

const model = await Model.load(process.argv[2]);

process.on("message", async ({ id, image, audio }) => {
  try {
    const input = { image: Buffer.from(image), audio: Buffer.from(audio) };
    const spot = await model.localize(input, { refine: "iqr" });
    const { confidence, boxes } = spot;
    process.send({ id, result: { confidence, boxes, overlay: await spot.overlay() } });
  } catch ({ code, message }) {
    if (process.connected) process.send({ id, error: { code, message } });
  }
});
process.once("disconnect", () => process.exit());
process.send("ready");
