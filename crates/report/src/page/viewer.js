// The viewer: NiiVue, from the page itself, on volumes that are in the page, beside it or served.
(() => {
  const { html } = Chart;
  const canvas = document.getElementById("view");
  const says = document.getElementById("viewer-says");
  const controls = document.getElementById("viewer-controls");
  const state = { nv: null, NVImage: null, chosen: null, overlay: 0, opacity: 0.45, outline: 0, token: 0 };
  const PRESETS = [["", "as stored"], ["-160,240", "CT soft tissue"], ["-1350,150", "CT lung"], ["-500,1300", "CT bone"], ["0,80", "CT brain"]];

  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const fail = (error) => { says.className = "error"; says.textContent = `The viewer could not be started: ${error.message ?? error}`; };

  async function library() {
    const packed = new Blob([bytes(document.getElementById("niivue").textContent)]);
    const text = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(Object.assign(document.createElement("script"), { text }));
    return window.niivue;
  }
  // A volume's bytes as base64, from where it is.
  function volume(where) {
    if (where.id) return Promise.resolve(document.getElementById(where.id).textContent);
    if (where.url) {
      return fetch(where.url).then(async (answer) => {
        if (!answer.ok) throw new Error(`${where.url}: ${answer.status}`);
        const data = new Uint8Array(await answer.arrayBuffer());
        let text = "";
        for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
        return btoa(text);
      });
    }
    // A page opened from a folder may not fetch, but it may load a script.
    return new Promise((resolve, reject) => {
      const script = html("script", { src: where.script });
      script.onload = () => resolve(window.VOLUMES[where.script]);
      script.onerror = () => reject(new Error(`${where.script} is not beside the page`));
      document.head.append(script);
    });
  }

  function colours() {
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const label of DATA.labels) {
      const [r, g, b] = label.colour;
      table.R.push(r); table.G.push(g); table.B.push(b); table.A.push(255); table.I.push(Number(label.value)); table.labels.push(label.name);
    }
    return table;
  }

  async function start() {
    if (state.nv) return;
    const { Niivue, NVImage } = await library();
    const nv = new Niivue({ backColor: [0, 0, 0, 1], isRadiologicalConvention: true, show3Dcrosshair: true, loadingText: "", crosshairColor: [1, 0.8, 0.2, 0.6], logLevel: "error", dragAndDropEnabled: false });
    await nv.attachToCanvas(canvas);
    nv.setSliceType(nv.sliceTypeMultiplanar);
    state.nv = nv;
    state.NVImage = NVImage;
    nv.onLocationChange = (at) => { says.className = "soft"; says.textContent = at.string; };
  }

  async function show(found) {
    const mine = ++state.token;
    try {
      says.className = "soft";
      says.textContent = "loading";
      await start();
      const { nv, NVImage } = state;
      const image = await NVImage.loadFromBase64({ base64: await volume(found.volumes.image), name: "image.nii.gz", colormap: "gray" });
      const overlays = await Promise.all(found.volumes.overlays.map(async (o) => {
        const labels = await NVImage.loadFromBase64({ base64: await volume(o.where), name: "labels.nii.gz", opacity: 0 });
        // As labels, not as a measure: else values between colours are mixed, and background is tinted.
        labels.hdr.intent_code = 1002;
        labels.setColormapLabel(colours());
        return labels;
      }));
      if (mine !== state.token) return;
      while (nv.volumes.length) nv.removeVolumeByIndex(0);
      nv.addVolume(image);
      overlays.forEach((o) => nv.addVolume(o));
      state.chosen = found;
      state.stored = [image.cal_min, image.cal_max];
      fillControls(found);
      paint();
      says.textContent = `${found.case}: drag or click to move, right-drag for contrast, wheel for slices`;
      canvas.dataset.shows = found.case;
    } catch (error) { fail(error); }
  }

  function paint() {
    const { nv } = state;
    for (let i = 1; i < nv.volumes.length; i++) nv.setOpacity(i, i - 1 === state.overlay ? state.opacity : 0);
    nv.setAtlasOutline?.(state.outline);
    if (!nv.setAtlasOutline) { nv.opts.atlasOutline = state.outline; nv.updateGLVolume(); }
  }
  function contrast(low, high) {
    const { nv } = state;
    nv.volumes[0].cal_min = low;
    nv.volumes[0].cal_max = high;
    nv.updateGLVolume();
  }

  function fillControls(found) {
    const { nv } = state;
    const overlays = [...found.volumes.overlays.map((o, i) => [i, o.name]), [-1, "none"]];
    if (state.overlay >= found.volumes.overlays.length) state.overlay = 0;
    const which = Chart.select("Labels", overlays, (v) => { state.overlay = Number(v); paint(); });
    which.querySelector("select").value = state.overlay;
    const toggle = html("button", { type: "button" }, "Next labels");
    toggle.addEventListener("click", () => {
      state.overlay = (state.overlay + 1) % Math.max(found.volumes.overlays.length, 1);
      which.querySelector("select").value = state.overlay;
      paint();
    });
    const [low, high] = ["darkest", "brightest"].map((name, i) => html("input", { type: "number", step: "any", "aria-label": name, value: Chart.shown(state.stored[i]) }));
    const given = () => contrast(Number(low.value), Number(high.value));
    low.addEventListener("change", given);
    high.addEventListener("change", given);
    controls.replaceChildren(
      Chart.select("View", [[nv.sliceTypeMultiplanar, "three planes"], [nv.sliceTypeAxial, "axial"], [nv.sliceTypeCoronal, "coronal"], [nv.sliceTypeSagittal, "sagittal"], [nv.sliceTypeRender, "3-D"]], (v) => nv.setSliceType(Number(v))),
      ...(found.volumes.overlays.length ? [which] : []),
      ...(found.volumes.overlays.length > 1 ? [toggle] : []),
      ...(found.volumes.overlays.length ? [
        Chart.slider("Opacity", [0, 1, 0.05], state.opacity, (v) => { state.opacity = v; paint(); }),
        Chart.checkbox("Contours", state.outline > 0, (on) => { state.outline = on ? 1 : 0; paint(); })] : []),
      Chart.select("Window", PRESETS, (v) => {
        const [a, b] = v ? v.split(",").map(Number) : state.stored;
        [low.value, high.value] = [Chart.shown(a), Chart.shown(b)];
        contrast(a, b);
      }), low, high);
  }

  document.addEventListener("case", (event) => {
    const found = event.detail;
    if (found.volumes) show(found);
    else { says.className = "soft"; says.textContent = `${found.case}: its volumes are not in the page`; }
  });
})();
