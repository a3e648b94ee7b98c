// Records from the microphone and leaves a WAV in a folder that Jupyter serves, by way of Jupyter's own contents endpoint.
(function () {
  "use strict";
  const box = document.getElementById("RECORD_ID");
  if (!box) return;
  const { here, folder, shown, name, seconds } = JSON.parse(box.dataset.run);
  const words = box.querySelector("[data-words]");
  const place = box.querySelector("[data-picture]");
  const MAX_TAKES = 1000;
  const SILENT = 0.001;
  const OTHERWISE = `Or record with another program and put the file into ${shown}.`;
KERNEL_FOLDER
MICROPHONE
  function say(state, text) {
    box.dataset.state = state;
    words.textContent = text;
  }

  // Saved beside and renamed, which Jupyter refuses where the name is taken: the name of the first take that is free.
  async function save({ ask, folder: root }, wav) {
    const place = `${root}/${folder}`;
    const part = `${place}/${name}-${Date.now()}-${Math.random().toString(36).slice(2, 8)}.part`;
    let text = "";
    for (let at = 0; at < wav.length; at += 32768) text += String.fromCharCode(...wav.subarray(at, at + 32768));
    const content = btoa(text);
    try {
      let answer = await ask("PUT", part, { type: "file", format: "base64", content });
      for (let take = 1; answer.ok && take <= MAX_TAKES; take++) {
        const file = take === 1 ? `${name}.wav` : `${name}-${take}.wav`;
        answer = await ask("PATCH", part, { path: `${place}/${file}`.replace(/^\//, "") });
        if (answer.ok) return file;
        if (answer.status === 409) answer = { ok: true, status: 409, statusText: `${MAX_TAKES} takes are there` };
      }
      throw new Error(`Jupyter answered ${answer.status} ${answer.statusText}`);
    } catch (error) {
      await ask("DELETE", part).catch(() => null);
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
  async function take() {
    let [samples, length, rate, microphone] = [null, 0, 0, null];
    try {
      await new Promise((resolve, reject) => {
        const hear = (block, itsRate) => {
          rate = itsRate;
          samples = samples || new Float32Array(Math.round(seconds * rate));
          const part = block.subarray(0, samples.length - length);
          samples.set(part, length);
          length += part.length;
          meter.value = Math.sqrt(part.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
          button.textContent = `■ Stop (${Math.ceil((samples.length - length) / rate)} s left)`;
          if (length >= samples.length || !box.isConnected) resolve();
        };
        stop = resolve;
        openMicrophone(hear, resolve, "From another machine: ssh -L 8888:localhost:8888 HOST.").then((opened) => {
          microphone = opened;
          say("recording", "Recording.");
        }, reject);
      });
    } finally {
      if (microphone) await microphone.close();
    }
    if (!length) throw new Error("Nothing was recorded, and nothing was saved.");
    return { samples: samples.subarray(0, length), rate };
  }

  async function record() {
    if (stop) return stop();
    stop = () => {};
    try {
      if (folder === null) throw new Error(`${shown} lies outside the folder that the kernel works in: name one below it.`);
      const files = await kernelFolder(here);
      say("waiting", "Waiting for the microphone.");
      const { samples, rate } = await take();
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      if (peak === 0) throw new Error("Nothing came from the microphone: it is muted, or the wrong one. Nothing was saved.");
      const wav = wavOf(samples, rate);
      const file = await save(files, wav);
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
