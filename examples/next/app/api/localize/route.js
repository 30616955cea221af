// POST an image and an audio file as the form fields `image` and `audio`; the answer is the map over the image.
import { Model, SoundspotError } from "soundspot";

export const runtime = "nodejs"; // the addon does not run on the edge

const LARGEST = 20 * 2 ** 20; // bytes of a file

// Loaded by the first request and kept. In development a changed module is loaded again; the model stays.
function model() {
  globalThis.soundspotModel ??= Model.load(process.env.MODEL ?? "model.safetensors").catch((error) => {
    globalThis.soundspotModel = undefined;
    throw error;
  });
  return globalThis.soundspotModel;
}

async function fileOf(form, name) {
  const file = form.get(name);
  if (!(file instanceof File) || file.size > LARGEST) {
    throw new SoundspotError("ERR_INPUT", `Send a file of at most ${LARGEST} bytes as the field ${name}.`);
  }
  return Buffer.from(await file.arrayBuffer());
}

const callersFault = /^ERR_(INPUT|FILE_EMPTY|MEDIA_DECODE|AUDIO_EMPTY|AUDIO_NOT_FINITE)$/;

export async function POST(request) {
  try {
    const form = await request.formData().catch(() => {
      throw new SoundspotError("ERR_INPUT", "Send a form with the files image and audio.");
    });
    const input = { image: await fileOf(form, "image"), audio: await fileOf(form, "audio") };
    const { signal } = request;
    const spot = await (await model()).localize(input, { refine: "iqr", signal });
    return new Response(await spot.overlay({ signal }), {
      headers: { "content-type": "image/png", "x-confidence": spot.confidence.toFixed(3) },
    });
  } catch (error) {
    const { code, message } = error;
    if (callersFault.test(code)) return Response.json({ code, message }, { status: 400 });
    console.error(error);
    return Response.json(
      { code: "ERR_INTERNAL", message: "The server failed; its log says why." },
      { status: 500 },
    );
  }
}
