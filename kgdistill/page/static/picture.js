// A picture of nodes and relationships; what it shows stands in the page as JSON. The same on the page and in a file.
"use strict";
const MOST_NAMED = 30;
// Kinds are told by their shapes too, not by colour alone.
const KINDS = {
  User: ["#56b4e9", "ellipse"], Product: ["#f0e442", "round-rectangle"], Brand: ["#e69f00", "diamond"],
  Category: ["#8fd3b6", "hexagon"], Campaign: ["#e9a6c8", "star"], Query: ["#c9b6e4", "tag"],
};
const kindOf = (node) => KINDS[node.data("label")] || ["#bbbbbb", "triangle"];

function nodeElement(node) {
  const element = { group: "nodes", data: node };
  if (node.x !== undefined) element.position = { x: node.x, y: node.y };
  return element;
}
function edgeElement(edge) {
  const told = edge.run ? `${edge.type} ${edge.run}` : edge.type;
  return { group: "edges", data: { ...edge, told } };
}
function drawPicture(box, elements) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const placed = elements.nodes.every((node) => node.x !== undefined);
  return cytoscape({
    container: box,
    elements: [...elements.nodes.map(nodeElement), ...elements.edges.map(edgeElement)],
    layout: placed ? { name: "preset", fit: true, padding: 30 } : { name: "grid" },
    maxZoom: 2,
    style: [
      { selector: "node", style: {
        "background-color": (node) => kindOf(node)[0], shape: (node) => kindOf(node)[1], "border-width": 1, "border-color": "#555555",
        label: "data(name)", color: colour("--ink"), "font-size": 11, "text-wrap": "wrap", "text-max-width": 110,
        "text-valign": "bottom", "text-margin-y": 3, "font-family": "eastern, system-ui, sans-serif",
        "text-background-color": colour("--paper"), "text-background-opacity": 0.8 } },
      { selector: "node:selected", style: { "border-width": 4, "border-color": colour("--accent") } },
      { selector: "edge", style: {
        width: 1.2, "line-color": colour("--soft"), "target-arrow-color": colour("--soft"), "target-arrow-shape": "triangle",
        "arrow-scale": 0.8, "curve-style": "bezier", "font-size": 8, color: colour("--soft"),
        "text-rotation": "autorotate", "text-background-color": colour("--paper"), "text-background-opacity": 0.8 } },
      { selector: "edge.told", style: { label: "data(told)", "z-index": 2 } },
    ],
  });
}
// Many names on lines hide each other: then those of the node that is chosen or pointed at are told.
function nameLines(node) {
  const few = picture.edges().length <= MOST_NAMED;
  picture.edges().removeClass("told");
  (few ? picture.edges() : (node || picture.nodes(":selected")).connectedEdges()).addClass("told");
}
let picture = null;
function startPicture() {
  const box = document.getElementById("picture");
  if (!box || picture) return;
  picture = drawPicture(box, JSON.parse(document.getElementById(box.dataset.elements).textContent));
  nameLines();
  picture.on("add remove select unselect", () => nameLines());
  picture.on("mouseover", "node", (event) => nameLines(event.target));
  picture.on("mouseout", "node", () => nameLines());
  picture.on("select", "node", (event) => {
    const node = event.target;
    document.getElementById("picture-said").textContent = `${node.data("label")} ${node.data("key")}: ${node.data("name")}`;
  });
}
startPicture();
document.addEventListener("htmx:afterSettle", startPicture);
