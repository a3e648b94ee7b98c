// Records from the microphone and leaves a WAV in a folder that Jupyter serves, by way of Jupyter's own contents endpoint.
(function () {
  "use strict";
  const box = document.getElementById("RECORD_ID");
  if (!box) return;
  const { folder, hashes, shown, name, seconds } = JSON.parse(box.dataset.run);
  const words = box.querySelector("[data-words]");
  const place = box.querySelector("[data-picture]");
  const MAX_TAKES = 1000;
  const SILENT = 0.001;
  const OTHERWISE = `Or record with another program and put the file into ${shown}.`;
  const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
    process(inputs) {
      if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice());
      return true;
    }
  });`;
  const REFUSED = {
    NotAllowedError: "The microphone was refused. Allow it by the sign beside the page's address, and press the button again.",
    NotFoundError: "No microphone was found. Plug one in, and press the button again.",
    NotReadableError: "The microphone is taken by another program, or the system keeps it. Free it, and press the button again.",
  };

  function say(state, text) {
    box.dataset.state = state;
    words.textContent = text;
  }

  // Where Jupyter takes files for the folder; an error in words where it does not.
  function server() {
    const settings = document.getElementById("jupyter-config-data");
    if (!settings) throw new Error("This page is not JupyterLab or Jupyter Notebook, and has no place to save a recording.");
    const { baseUrl, token, serverRoot } = JSON.parse(settings.textContent);
    const root = (serverRoot || "").replace(/\/+$/, "");
    const open = /\/(?:tree|notebooks|edit)\/(.*)$/.exec(decodeURIComponent(location.pathname));
    const beside = open && open[1].includes("/") ? "/" + open[1].replace(/\/[^/]*$/, "") : "";
    // The kernel's folder, told by a hash of its path: a folder of the same name elsewhere is not taken for it.
    const place = [`${beside}/${folder}`, `/${folder}`].find((place) => hashes.includes(fnv1a(root + place)));
    if (folder === null || place === undefined) {
      throw new Error(`${shown} is not found in the folder that Jupyter serves (${serverRoot || "unknown"}): name a folder below the notebook's, and start Jupyter there or above.`);
    }
    return { contents: `${baseUrl}api/contents`, path: place, token };
  }

  // FNV-1a with 64 bits, in hexadecimal digits.
  function fnv1a(text) {
    let hash = 0xcbf29ce484222325n;
    for (const byte of new TextEncoder().encode(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    return hash.toString(16).padStart(16, "0");
  }

  function ask({ contents, token }, method, path, body) {
    const cookie = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie);
    const headers = { "Content-Type": "application/json" };
    if (token) headers.Authorization = `token ${token}`;
    if (cookie) headers["X-XSRFToken"] = decodeURIComponent(cookie[1]);
    const address = contents + path.split("/").map(encodeURIComponent).join("/");
    return fetch(address, { method, headers, credentials: "same-origin", cache: "no-store", body: body && JSON.stringify(body) });
  }

  // Saved beside and renamed, which Jupyter refuses where the name is taken: the name of the first take that is free.
  async function save(jupyter, wav) {
    const part = `${jupyter.path}/${name}-${Date.now()}-${Math.random().toString(36).slice(2, 8)}.part`;
    let text = "";
    for (let at = 0; at < wav.length; at += 32768) text += String.fromCharCode(...wav.subarray(at, at + 32768));
    const content = btoa(text);
    try {
      let answer = await ask(jupyter, "PUT", part, { type: "file", format: "base64", content });
      for (let take = 1; answer.ok && take <= MAX_TAKES; take++) {
        const file = take === 1 ? `${name}.wav` : `${name}-${take}.wav`;
        answer = await ask(jupyter, "PATCH", part, { path: `${jupyter.path}/${file}`.replace(/^\//, "") });
        if (answer.ok) return file;
        if (answer.status === 409) answer = { ok: true, status: 409, statusText: `${MAX_TAKES} takes are there` };
      }
      throw new Error(`Jupyter answered ${answer.status} ${answer.statusText}`);
    } catch (error) {
      await ask(jupyter, "DELETE", part).catch(() => null);
      throw error;
    }
  }

  // 16-bit mono.
  function wavOf(samples, rate) {
    const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (at, letters) => [...letters].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF");
    bytes.setUint32(4, 36 + 2 * samples.length, true);
    text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true);
    bytes.setUint16(20, 1, true);
    bytes.setUint16(22, 1, true);
    bytes.setUint32(24, rate, true);
    bytes.setUint32(28, 2 * rate, true);
    bytes.setUint16(32, 2, true);
    bytes.setUint16(34, 16, true);
    text(36, "data");
    bytes.setUint32(40, 2 * samples.length, true);
    samples.forEach((sample, i) => bytes.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), true));
    return new Uint8Array(bytes.buffer);
  }

  const button = document.createElement("button");
  const meter = document.createElement("meter");
  const player = document.createElement("span");
  button.style.cssText = "font:inherit;padding:6px 14px;margin:2px 10px 2px 2px;cursor:pointer";
  Object.assign(meter, { min: 0, max: 1, low: 0.02, high: 0.95, optimum: 0.3, value: 0, title: "level" });
  meter.style.cssText = "width:220px;vertical-align:middle";
  place.replaceChildren(button, meter, player);
  let stop = null;

  function ready() {
    stop = null;
    meter.value = 0;
    button.textContent = `● Record ${seconds} s`;
  }

  // The samples of one take, and their rate.
  async function take(stream) {
    const context = new AudioContext();
    const code = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
    try {
      await context.audioWorklet.addModule(code);
      const options = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" };
      const tap = new AudioWorkletNode(context, "tap", options);
      const wanted = Math.round(seconds * context.sampleRate);
      const samples = new Float32Array(wanted);
      let length = 0;
      await new Promise((resolve) => {
        stop = resolve;
        stream.getTracks().forEach((track) => track.addEventListener("ended", resolve));
        tap.port.onmessage = ({ data }) => {
          const block = data.subarray(0, wanted - length);
          samples.set(block, length);
          length += block.length;
          meter.value = Math.sqrt(block.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
          button.textContent = `■ Stop (${Math.ceil((wanted - length) / context.sampleRate)} s left)`;
          if (length >= wanted || !box.isConnected) resolve();
        };
        context.createMediaStreamSource(stream).connect(tap);
      });
      tap.port.onmessage = null;
      return { samples: samples.subarray(0, length), rate: context.sampleRate };
    } finally {
      URL.revokeObjectURL(code);
      stream.getTracks().forEach((track) => track.stop());
      await context.close();
    }
  }

  async function record() {
    if (stop) return stop();
    if (!window.isSecureContext || !navigator.mediaDevices) {
      return say("insecure", `Browsers give the microphone to pages over https and from localhost alone; from another machine: ssh -L 8888:localhost:8888 HOST. ${OTHERWISE}`);
    }
    stop = () => {};
    let stream;
    try {
      const jupyter = server();
      say("waiting", "Waiting for the microphone.");
      // The sound itself: what browsers do to speech would change it.
      const raw = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio: raw }).catch((error) => {
        throw new Error(REFUSED[error.name] || `The microphone cannot be opened: ${error.message}.`);
      });
      say("recording", "Recording.");
      const { samples, rate } = await take(stream);
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      if (peak === 0) throw new Error("Nothing came from the microphone: it is muted, or the wrong one. Nothing was saved.");
      const wav = wavOf(samples, rate);
      const file = await save(jupyter, wav);
      const audio = document.createElement("audio");
      audio.controls = true;
      audio.src = URL.createObjectURL(new Blob([wav], { type: "audio/wav" }));
      audio.style.cssText = "display:block;width:300px;max-width:100%;margin:4px 0";
      player.replaceChildren(audio);
      const level = `its loudest sample ${(20 * Math.log10(peak)).toFixed(0).replace("-", "−")} dB of full scale`;
      const advice = peak < SILENT ? " That is next to nothing: is it the right microphone?" : peak >= 0.999 ? " It is clipped: a little further away." : "";
      say("saved", `Saved ${shown}/${file}: ${(samples.length / rate).toFixed(1)} s at ${rate} Hz, ${level}.${advice}`);
    } catch (error) {
      say("failed", `${error.message} ${OTHERWISE}`);
    } finally {
      ready();
    }
  }

  button.addEventListener("click", record);
  ready();
  say("ready", `What you record becomes ${shown}/${name}.wav, or a further take beside it.`);
})();
