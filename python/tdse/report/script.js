"use strict";
// The tables hold everything; this shows the row of an operator beside the graph, and zooms.
const graph = document.getElementById("graph");
const detail = document.getElementById("detail");
const box = graph.parentElement;
const natural = graph.viewBox.baseVal;

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function close() {
  detail.hidden = true;
  for (const node of graph.querySelectorAll(".chosen")) node.classList.remove("chosen");
}

function show(node) {
  const row = document.getElementById("op" + node.dataset.op);
  const heads = row.closest("table").tHead.rows[0].cells;
  close();
  node.classList.add("chosen");
  const list = document.createElement("dl");
  for (let i = 1; i < row.cells.length; i++) {
    list.append(element("dt", heads[i].textContent), element("dd", row.cells[i].textContent));
  }
  const button = element("button", "close");
  button.addEventListener("click", close);
  detail.replaceChildren(element("h3", row.cells[0].textContent), list, button);
  detail.hidden = false;
}

function zoom(factor) {
  const width = graph.width.baseVal.value * factor;
  const middle = (box.scrollTop + box.clientHeight / 2) * factor - box.clientHeight / 2;
  const centre = (box.scrollLeft + box.clientWidth / 2) * factor - box.clientWidth / 2;
  graph.setAttribute("width", width);
  graph.setAttribute("height", width * natural.height / natural.width);
  box.scrollTo(centre, middle);
}

graph.addEventListener("click", (event) => {
  const node = event.target.closest("a");
  if (!node) return;
  event.preventDefault();
  show(node);
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
box.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
}, { passive: false });
// Where the graph is wider than its box, the first operator is what is seen of it.
const first = graph.querySelector("a rect");
box.scrollLeft = first.x.baseVal.value + first.width.baseVal.value / 2 - box.clientWidth / 2;
for (const bar of document.querySelectorAll(".buttons")) bar.hidden = false;
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => {
    const fit = (box.clientWidth - 14) / graph.width.baseVal.value;
    zoom(button.dataset.zoom === "fit" ? fit : Number(button.dataset.zoom));
  });
}
