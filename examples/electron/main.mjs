import { fileURLToPath } from "node:url";
import { app, BrowserWindow, ipcMain } from "electron";
import { createLocator } from "./locator.mjs";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
// Ship both with the app, outside of its asar archive; `npm install node` brings the program.
const checkpoint = process.env.MODEL ?? here("model.safetensors");
const node = process.env.NODE ?? here("node_modules/node/bin/node");

await app.whenReady();
const locator = await createLocator({ checkpoint, node });
app.once("will-quit", () => locator.close());
// Of an error only the message passes from process to process, so the answer carries it.
ipcMain.handle("localize", (_event, files) =>
  locator.localize(files).catch(({ code, message }) => ({ error: { code, message } })),
);

const window = new BrowserWindow({ webPreferences: { preload: here("preload.cjs") } });
await window.loadFile(here("index.html"));
