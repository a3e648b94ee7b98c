// Shows a page that listens under a cell: reads it through Jupyter, so that the notebook does not have to hold it.
(async function () {
  "use strict";
  const box = document.getElementById("LIVE_ID");
  if (!box) return;
  const { here, page, network } = JSON.parse(box.dataset.run);
  const words = box.querySelector("[data-words]");
KERNEL_FOLDER
  function say(state, text) {
    box.dataset.state = state;
    words.textContent = text;
  }

  try {
    say("loading", "Loading the page that listens …");
    const { folder, read } = await kernelFolder(here);
    const answer = await read(`${folder}/${page}`);
    const html = answer.ok ? await answer.text() : "";
    // The file is one for all networks, and the last cell that was run wrote it.
    if (!html.includes(network)) throw new Error("The page of this network is no longer there: run the cell again.");
    const frame = document.createElement("iframe");
    Object.assign(frame, { srcdoc: html, allow: "microphone", title: "A page that listens" });
    frame.style.cssText = "width:100%;height:640px;border:0";
    const inside = () => frame.contentDocument.documentElement;
    const fit = () => (frame.style.height = `${inside().querySelector("body").scrollHeight + 64}px`);
    const dress = () => (inside().dataset.theme = document.body.dataset.jpThemeLight === "false" ? "dark" : "light");
    frame.addEventListener("load", () => {
      new ResizeObserver(fit).observe(inside().querySelector("body"));
      const observer = new MutationObserver(() => (frame.isConnected ? dress() : observer.disconnect()));
      observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
      dress();
    });
    box.querySelector("[data-picture]").replaceChildren(frame);
    say("ready", "It runs in this page, from the network's own file; the kernel is free for other work, and nothing is sent anywhere.");
  } catch (error) {
    say("failed", error.message);
  }
})();
