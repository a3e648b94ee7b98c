  // The folder that the kernel works in, as Jupyter serves it: a file that the kernel left there tells it from others of its name. An error in
  // words where there is no way to it.
  async function kernelFolder(here) {
    const settings = document.getElementById("jupyter-config-data");
    if (!settings) throw new Error("This page is not JupyterLab or Jupyter Notebook, and has no way to the kernel's files.");
    const { baseUrl, token } = JSON.parse(settings.textContent);
    const encoded = (path) => path.split("/").map(encodeURIComponent).join("/");

    function send(address, method, body) {
      const cookie = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie);
      const headers = { "Content-Type": "application/json" };
      if (token) headers.Authorization = `token ${token}`;
      if (cookie) headers["X-XSRFToken"] = decodeURIComponent(cookie[1]);
      return fetch(address, { method, headers, credentials: "same-origin", cache: "no-store", body: body && JSON.stringify(body) });
    }

    // Paths begin at the folder that Jupyter serves.
    const ask = (method, path, body) => send(`${baseUrl}api/contents${encoded(path)}`, method, body);
    const open = /\/(?:tree|notebooks|edit)\/(.*)$/.exec(decodeURIComponent(location.pathname));
    const beside = open && open[1].includes("/") ? "/" + open[1].replace(/\/[^/]*$/, "") : "";
    for (const folder of new Set([beside, ""])) {
      const answer = await ask("GET", `${folder}/${here.file}`).catch(() => null);
      const left = answer && answer.ok ? await answer.json() : {};
      if (left.content === here.id) return { folder, ask, read: (path) => send(`${baseUrl}files${encoded(path)}?${Date.now()}`, "GET") };
    }
    throw new Error("Jupyter does not serve the folder that the kernel works in, or the notebook was moved: start Jupyter there or above, and run the cell again.");
  }
