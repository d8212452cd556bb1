// What a page does beside links and forms: an SVG as a PNG, and the list under the search box closes.
"use strict";
document.addEventListener("keydown", (event) => {
  const found = document.getElementById("found");
  if (event.key === "Escape" && found) found.replaceChildren();
});
document.addEventListener("click", (event) => {
  const found = document.getElementById("found");
  if (found && !event.target.closest(".find")) found.replaceChildren();
});

// Every plot gets a button that keeps it as a PNG, with the colours that it has on screen.
function drawnPlot(svg) {
  const copy = svg.cloneNode(true);
  const own = svg.querySelectorAll("*"), theirs = copy.querySelectorAll("*");
  own.forEach((element, at) => {
    const style = getComputedStyle(element);
    for (const name of ["fill", "font-size", "font-family"]) theirs[at].setAttribute(name, style.getPropertyValue(name));
  });
  const box = svg.viewBox.baseVal;
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [box.width * 2, box.height * 2];
    const pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    keep(canvas.toDataURL("image/png"), "plot.png");
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(copy));
}
function keep(url, name) {
  const link = document.createElement("a");
  [link.href, link.download] = [url, name];
  link.click();
}
function addButtons() {
  for (const svg of document.querySelectorAll("svg.bars:not([data-kept])")) {
    svg.dataset.kept = "yes";
    const button = document.createElement("button");
    [button.type, button.textContent] = ["button", "PNG"];
    button.addEventListener("click", () => drawnPlot(svg));
    svg.closest("figure").append(button);
  }
}
document.addEventListener("DOMContentLoaded", addButtons);
document.addEventListener("htmx:afterSettle", addButtons);
