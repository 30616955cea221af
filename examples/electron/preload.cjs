const { contextBridge, ipcRenderer } = require("electron");

contextBridge.exposeInMainWorld("soundspot", {
  localize: (image, audio) => ipcRenderer.invoke("localize", { image, audio }),
});
