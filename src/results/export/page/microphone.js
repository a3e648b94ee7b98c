  // The microphone's samples, block by block, as they come from the device: what browsers do to speech would change other sounds.
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

  // Calls `onBlock` with every block of samples and their rate until `close` is called, or `onEnd` where the microphone goes away before.
  // `elsewhere` is what to do where the page has no way to one.
  async function openMicrophone(onBlock, onEnd, elsewhere) {
    if (!window.isSecureContext || !navigator.mediaDevices) {
      throw new Error(`Browsers give the microphone to pages over https and from localhost alone. ${elsewhere}`);
    }
    const raw = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: raw }).catch((error) => {
      throw new Error(REFUSED[error.name] || `The microphone cannot be opened: ${error.message}.`);
    });
    const context = new AudioContext();
    const close = () => {
      stream.getTracks().forEach((track) => track.stop());
      return context.close();
    };
    try {
      // A page opened from a file has no origin, and so no blob that a worklet may load.
      await context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(TAP)}`);
      const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
      tap.port.onmessage = ({ data }) => onBlock(data, context.sampleRate);
      stream.getTracks().forEach((track) => track.addEventListener("ended", onEnd));
      context.createMediaStreamSource(stream).connect(tap);
      return { close: () => ((tap.port.onmessage = null), close()) };
    } catch (error) {
      await close();
      throw error;
    }
  }
