/** Schemas of requests and answers, for serialization and for /openapi.json. */
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../config/defaults.js";
import { NOT_A_FORM } from "./http-error.js";
import { DEFAULTS, halfOf } from "./options.js";
import { FIELD_BYTES } from "./upload.js";

const number = (description: string, more: object = {}) => ({ type: "number", description, ...more });
const integer = (description: string, more: object = {}) => ({ type: "integer", description, ...more });
const text = (description: string, more: object = {}) => ({ type: "string", description, ...more });
const object = (
  description: string,
  properties: Record<string, object>,
  required = Object.keys(properties),
) => ({
  type: "object",
  description,
  required,
  properties,
});
const file = (description: string) => text(description, { format: "binary" });

const errorBody = (description: string, code: string, message: string) => ({
  ...object(description, {
    error: object("The error.", {
      code: text("Stable between releases."),
      message: text("Names the field or file, and says what to do."),
    }),
  }),
  examples: [{ error: { code, message } }],
});

const retryAfter = {
  "retry-after": { type: "integer", description: "Seconds after which to try again." },
};

/** Answers that any route may give. */
export const failures = {
  400: errorBody("The request is wrong.", "ERR_INPUT", 'threshold must be a number from 0 to 1; it was "2".'),
  403: errorBody(
    "A page of another origin calls.",
    "ERR_ORIGIN",
    "Pages of https://example.org may not call this service.",
  ),
  404: errorBody("Not found.", "ERR_NOT_FOUND", "There is no GET /v2."),
  405: {
    ...errorBody("The path has other methods.", "ERR_METHOD", "/v1/localize has no GET. Use OPTIONS, POST."),
    headers: { allow: { type: "string", description: "The methods of the path." } },
  },
  408: errorBody(
    "The request took too long to arrive.",
    "ERR_TIMEOUT",
    "The request did not arrive in time.",
  ),
  413: errorBody(
    "A file or the form is too large.",
    "ERR_TOO_LARGE",
    "image is larger than 32 MB. Send a smaller one.",
  ),
  415: errorBody("No multipart form.", "ERR_MEDIA_TYPE", NOT_A_FORM),
  429: {
    ...errorBody(
      "The queue is full, or the client has its share of it.",
      "ERR_OVERLOADED",
      "144 requests are waiting or at work, and no more are accepted.",
    ),
    headers: retryAfter,
  },
  500: errorBody("The service failed.", "ERR_INTERNAL", "The service failed. The error is in its log."),
  503: {
    ...errorBody(
      "The service is shutting down, or was too slow.",
      "ERR_CLOSING",
      "The service is shutting down.",
    ),
    headers: retryAfter,
  },
};

const tensor = (description: string) =>
  object(description, {
    shape: { type: "array", items: { type: "integer" } },
    data: { type: "array", items: { type: "number" }, description: "Row-major." },
  });

const attention = (description: string) =>
  object(description, {
    audioOnImage: tensor("Audio queries on the image: [slots, h, w]."),
    imageOnImage: tensor("Image queries on the image: [slots, h, w]."),
    audioOnAudio: tensor("Audio queries on the audio: [slots, t]."),
    imageOnAudio: tensor("Image queries on the audio: [slots, t]."),
  });

/** Values of `include`. */
export const INCLUDABLE = ["attention", "logits", "heatmap", "overlay", "spectrogram"] as const;

const box = object("In pixels of the image, origin top left.", {
  x: number("Left."),
  y: number("Top."),
  width: number("In pixels."),
  height: number("In pixels."),
  score: number("Mean of the heatmap inside, 0 … 1."),
});

const localized = {
  ...object(
    "Where the sound comes from.",
    {
      model: text("Name of the model; absent where the service has only one."),
      width: integer("Of the image, in pixels."),
      height: integer("Of the image, in pixels."),
      confidence: number("Cosine of the target slots of image and audio, −1 … 1."),
      silent: {
        type: "boolean",
        description: "True where no sample of the audio window reaches −60 dBFS; absent otherwise.",
      },
      time: number("Of a video: presentation time of the frame, in seconds from the start of the file."),
      boxes: { type: "array", description: "Connected regions of the mask, largest first.", items: box },
      settings: object("The settings used.", {
        sharpening: number("Factor on the logits."),
        threshold: number("The mask is where the heatmap reaches it."),
        alpha: number("The audio map's share of the refinement."),
        refine: text("Refinement of the map."),
        targetSlots: integer("Slots of the sounding object: the first ones."),
      }),
      attention: attention("Normalised over tokens."),
      logits: attention("The same before sharpening and softmax."),
      heatmap: object("At the size of the image, in [0, 1].", {
        shape: { type: "array", items: { type: "integer" }, description: "[height, width]" },
        data: text("Little-endian float32, row-major, in base64."),
      }),
      figures: object(
        "Drawings.",
        {
          overlay: text("The heatmap over the image: PNG in base64."),
          spectrogram: text("The spectrogram with the attention over time: PNG in base64."),
        },
        [],
      ),
    },
    ["width", "height", "confidence", "boxes", "settings"],
  ),
  examples: [
    {
      width: 640,
      height: 480,
      confidence: 0.71,
      boxes: [{ x: 120, y: 88, width: 210, height: 190, score: 0.82 }],
      settings: {
        sharpening: 0.1,
        threshold: MASK_THRESHOLD,
        alpha: AUDIO_WEIGHT,
        refine: "none",
        targetSlots: 1,
      },
    },
  ],
};

export const localizeSchema = {
  summary: "Find the sound source in an image",
  description:
    "Send `image` and `audio`, or `video` alone. Fields have at most " +
    `${FIELD_BYTES} bytes; unknown ones are rejected. With \`Accept: image/png\` the answer is the heatmap drawn over the image.`,
  operationId: "localize",
  tags: ["localization"],
  consumes: ["multipart/form-data"],
  body: {
    type: "object",
    properties: {
      image: file("An image: JPEG, PNG, WebP, AVIF, GIF or TIFF."),
      audio: file(
        "An audio file: WAV, or any format of ffmpeg. Of a long one the audio window of the model is used.",
      ),
      video: file("A video with audio, instead of image and audio."),
      model: text("Name of a model, as /v1/models lists them. Default the first of them."),
      at: number(
        "Seconds: the frame of the video, with the audio around it. Default the middle, or the nearest moment with audio.",
        { minimum: 0 },
      ),
      audioTrack: integer("Of the video, from 0. Default the track marked as default.", { minimum: 0 }),
      sharpening: number("Factor on the attention logits. Default the checkpoint's.", {
        minimum: 1e-6,
        maximum: 1e6,
      }),
      threshold: number("Of the mask.", { minimum: 0, maximum: 1, default: MASK_THRESHOLD }),
      alpha: number("The audio map's share of the refinement.", {
        minimum: 0,
        maximum: 1,
        default: AUDIO_WEIGHT,
      }),
      refine: text("Refinement of the audio map: `iqr` blends it with the image map.", {
        enum: ["none", "iqr"],
        default: "none",
      }),
      include: text(`Additions to the answer, separated by commas: ${INCLUDABLE.join(", ")}.`, {
        default: "",
        examples: ["attention,heatmap"],
      }),
    },
  },
  response: {
    200: {
      description: "Where the sound comes from.",
      content: {
        "application/json": { schema: localized },
        "image/png": { schema: file("The heatmap over the image.") },
      },
    },
    ...failures,
  },
};

/** Most results of a search. */
export const MOST_RESULTS = 100;

export const searchSchema = {
  summary: "Images by audio, or audio by an image",
  operationId: "search",
  tags: ["search"],
  consumes: ["multipart/form-data"],
  body: {
    type: "object",
    properties: {
      image: file("An image, to find audio; or give audio."),
      audio: file("An audio file, to find images."),
      k: integer("Number of results.", { minimum: 1, maximum: MOST_RESULTS, default: 10 }),
      label: text("Only items of this label."),
    },
  },
  response: {
    200: object("The nearest items, nearest first.", {
      query: text("Kind of the query.", { enum: ["image", "audio"] }),
      results: {
        type: "array",
        items: object(
          "An image or an audio clip.",
          {
            id: text("Of the index."),
            score: number("Cosine of the target slots, −1 … 1."),
            kind: text("Kind of the item.", { enum: ["image", "audio"] }),
            name: text("Path relative to the indexed folder."),
            label: text("Of the item, if it has one."),
            url: text("Of a thumbnail, or of the audio."),
            box,
          },
          ["id", "score", "kind", "name", "url"],
        ),
      },
    }),
    ...failures,
  },
};

/** Schema of a route that serves a file of the index. */
export const itemSchema = (summary: string, type: string) => ({
  summary,
  tags: ["search"],
  produces: [type],
  params: object("Of a result.", { id: text("Of the index.") }),
  response: failures,
});

/** Sizes and method of a model. */
const modelFields = {
  imageSize: integer("Pixels a side that images are resized to."),
  seconds: number("Length of the audio window."),
  sampleRate: integer("Hertz that audio is resampled to."),
  method: text("Name of the method."),
  targetSlots: integer("Slots of the sounding object."),
  offTargetSlots: integer("Slots of the rest; absent where the method has none."),
  sharpening: number("Default factor on the attention logits."),
  demo: {
    type: "boolean",
    description: "true of the demo model, which knows drawn scenes only; else absent.",
  },
};
const alwaysThere = Object.keys(modelFields).filter((name) => name !== "offTargetSlots" && name !== "demo");

const exampleModel = {
  imageSize: 224,
  seconds: 5,
  sampleRate: 16_000,
  method: "joint-slot-attention",
  targetSlots: 1,
  offTargetSlots: 1,
  sharpening: 0.1,
};

export const modelsSchema = {
  summary: "The models of the service",
  operationId: "models",
  tags: ["service"],
  response: {
    200: {
      ...object("The models, in the order in which they were given.", {
        default: text("Name of the model of requests that name none."),
        models: {
          type: "array",
          items: object(
            "A model.",
            {
              name: text("For the field `model` of /v1/localize."),
              ...modelFields,
              search: { type: "boolean", description: "Whether /v1/search uses it." },
            },
            ["name", ...alwaysThere, "search"],
          ),
        },
      }),
      examples: [{ default: "default", models: [{ name: "default", ...exampleModel, search: false }] }],
    },
    500: failures[500],
    503: failures[503],
  },
};

export const infoSchema = {
  summary: "The model and the limits of the service",
  operationId: "info",
  tags: ["service"],
  response: {
    200: {
      ...object(
        "Model and limits.",
        {
          name: text("Of the package."),
          version: text("Of the package."),
          model: object("The model of requests that name none.", modelFields, alwaysThere),
          models: {
            type: "array",
            items: { type: "string" },
            description: "Names; /v1/models describes them.",
          },
          limits: object("More is rejected.", {
            uploadBytes: integer("Bytes of a file."),
            fieldBytes: integer("Bytes of a field."),
            pixels: integer("Pixels of an image or a frame."),
            concurrency: integer("Requests at work at a time."),
            queue: integer("Requests that may wait."),
            perClient: integer("Requests of a client that is alone; with others it has fewer."),
            uploadTimeout: number("Seconds for a request to arrive."),
            timeout: number("Seconds for its answer after that."),
          }),
          search: { type: "boolean", description: "Whether the service has an index to search." },
          basePath: text("Path below which a proxy offers the service, where it was given."),
        },
        ["name", "version", "model", "models", "limits", "search"],
      ),
      examples: [
        {
          name: "soundspot",
          version: "0.1.0",
          model: exampleModel,
          models: ["default"],
          limits: { ...DEFAULTS, perClient: halfOf(DEFAULTS), fieldBytes: FIELD_BYTES },
          search: false,
        },
      ],
    },
    500: failures[500],
    503: failures[503],
  },
};

export const healthSchema = {
  summary: "Whether the service accepts requests",
  operationId: "health",
  tags: ["service"],
  response: {
    200: {
      ...object("It accepts requests.", { status: { type: "string", enum: ["ok"] } }),
      examples: [{ status: "ok" }],
    },
    503: failures[503],
  },
};

export const metricsSchema = {
  summary: "Metrics of the service, in Prometheus format",
  operationId: "metrics",
  tags: ["service"],
  response: {
    200: {
      description: "The text format of Prometheus.",
      content: { "text/plain": { schema: { type: "string" } } },
    },
    500: failures[500],
  },
};

export const documentSchema = {
  summary: "This document",
  operationId: "document",
  tags: ["service"],
  response: {
    200: {
      description: "OpenAPI 3.1.",
      content: { "application/json": { schema: { type: "object", additionalProperties: true } } },
    },
    500: failures[500],
  },
};

export const pageSchema = {
  summary: "The page",
  operationId: "page",
  tags: ["page"],
  response: {
    200: { description: "The page.", content: { "text/html": { schema: { type: "string" } } } },
    404: failures[404],
  },
};
