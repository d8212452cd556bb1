// The neighbourhood grows here: expanding, hiding, layout, and what is on screen as a table, CSV, PNG or file.
"use strict";
const nodeRows = document.getElementById("nodes"), edgeRows = document.getElementById("edges");

// Once what is there has been painted: finding the places takes as long as all else of a click.
function layOut(randomize) {
  requestAnimationFrame(() => setTimeout(() => {
    picture.layout({ name: "fcose", randomize, animate: false, quality: "default", nodeSeparation: 90, idealEdgeLength: 90,
      padding: 30, nodeDimensionsIncludeLabels: true }).run();
    picture.fit(undefined, 30);
    picture.container().dataset.laid = picture.nodes().length;
  }));
}
function cell(row, text, href) {
  const held = row.insertCell();
  if (!href) held.textContent = text;
  else {
    const link = document.createElement("a");
    [link.href, link.textContent] = [href, text];
    held.append(link);
  }
  return held;
}
function button(place, text, name, run) {
  const made = document.createElement("button");
  [made.type, made.textContent] = ["button", text];
  made.setAttribute("aria-label", `${text} ${name}`);
  made.addEventListener("click", run);
  place.append(made, " ");
}
function tell() {
  if (!nodeRows) return;
  nodeRows.replaceChildren();
  picture.nodes().forEach((node) => {
    const { label, key, name } = node.data(), row = nodeRows.insertRow();
    cell(row, name, "/card?" + new URLSearchParams({ label, key }));
    cell(row, label);
    const place = row.insertCell();
    button(place, nodeRows.dataset.expand, name, () => expand(node));
    button(place, nodeRows.dataset.hide, name, () => { node.remove(); tell(); });
  });
  edgeRows.replaceChildren();
  picture.edges().forEach((edge) => {
    const row = edgeRows.insertRow();
    cell(row, edge.source().data("name"));
    cell(row, edge.data("told"));
    cell(row, edge.target().data("name"));
  });
}
async function expand(node) {
  const said = document.getElementById("picture-said");
  const run = document.getElementById("run");
  const answer = await fetch("/graph/expand", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Form-Token": nodeRows.dataset.form },
    body: JSON.stringify({
      node: node.id(),
      shown: picture.nodes().map((one) => one.id()),
      limit: Number(document.getElementById("limit").value) || 8,
      run: (run && run.value) || null,
    }),
  });
  if (!answer.ok) {
    const failed = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".failure");
    said.textContent = failed ? failed.textContent : answer.statusText;
    return;
  }
  const found = await answer.json();
  const fresh = found.nodes.filter((one) => picture.getElementById(one.id).empty());
  const at = node.position();
  picture.batch(() => {
    fresh.forEach((one, i) => picture.add({ ...nodeElement(one), position: {
      x: at.x + 60 * Math.cos(i), y: at.y + 60 * Math.sin(i) } }));
    found.edges.filter((one) => picture.getElementById(one.id).empty()).forEach((one) => picture.add(edgeElement(one)));
  });
  if (fresh.length) layOut(false);
  tell();
  said.textContent = `+${fresh.length}` + (found.left_out ? `, -${found.left_out}` : "");
  const here = new URL(location.href);
  if (here.searchParams.get("node") !== node.id() && !here.searchParams.getAll("also").includes(node.id())) {
    here.searchParams.append("also", node.id());
    history.replaceState(null, "", here);
  }
}
function csv() {
  const quoted = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
  const rows = [["source", "source_name", "relationship", "run", "value", "target", "target_name"]];
  picture.edges().forEach((edge) => rows.push([edge.source().id(), edge.source().data("name"), edge.data("type"),
    edge.data("run"), edge.data("value"), edge.target().id(), edge.target().data("name")]));
  const text = rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  keep(URL.createObjectURL(new Blob([text], { type: "text/csv" })), "neighbourhood.csv");
}
function drawing() {
  return JSON.stringify({
    nodes: picture.nodes().map((node) => {
      const { id, label, key, name } = node.data();
      return { id, label, key, name, ...node.position() };
    }),
    edges: picture.edges().map((edge) => {
      const { id, source, target, type, run, value } = edge.data();
      return { id, source, target, type, run: run || "", value: value ?? null };
    }),
  });
}
const DO = {
  fit: () => picture.fit(undefined, 30),
  png: () => keep(picture.png({ full: true, scale: 2, bg: getComputedStyle(document.body).backgroundColor }), "picture.png"),
  csv,
};
// Also for a picture that comes after the page.
document.addEventListener("click", (event) => {
  const asked = event.target.closest("[data-do]");
  if (asked && picture) DO[asked.dataset.do]();
});
if (picture) {
  const file = document.getElementById("file");
  if (file) file.addEventListener("submit", () => { file.elements.drawing.value = drawing(); });
  if (nodeRows) {
    layOut(true);
    picture.on("dbltap", "node", (event) => expand(event.target));
    tell();
  }
}
