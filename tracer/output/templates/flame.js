// A click on a function makes it as wide as the drawing; one on a caller of it, or Escape, goes back.
for (const svg of document.querySelectorAll("svg.flame")) {
  const whole = svg.viewBox.baseVal.width, cell = 7.3, gap = 0.5;
  const boxes = [...svg.querySelectorAll("g")].map((g) => {
    const rect = g.querySelector("rect");
    const [x, y, w] = ["x", "y", "width"].map((name) => Number(rect.getAttribute(name)));
    return { g, rect, x, y, w: w + gap, text: g.querySelector("text"), name: g.dataset.name };
  });
  const label = (box, x, w) => {
    const room = Math.floor((w - 6) / cell);
    if (!box.text) {
      box.text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      box.text.setAttribute("y", box.y + 14);
      if (!box.rect.classList.contains("fn")) box.text.classList.add("on");
      box.g.append(box.text);
    }
    box.text.setAttribute("x", x + 4);
    box.text.textContent =
      room < 2 ? "" : box.name.length > room ? box.name.slice(0, room - 1) + "…" : box.name;
  };
  const zoom = (on) => {
    const scale = whole / on.w, end = on.x + on.w + gap;
    for (const box of boxes) {
      const above = box.y < on.y && box.x <= on.x + gap && box.x + box.w + gap >= on.x + on.w;
      const below = box.y >= on.y && box.x >= on.x - gap && box.x + box.w <= end;
      box.g.style.display = above || below ? "" : "none";
      if (!above && !below) continue;
      const x = above ? 0 : (box.x - on.x) * scale, w = above ? whole : box.w * scale;
      box.rect.setAttribute("x", x);
      box.rect.setAttribute("width", Math.max(0.3, w - gap));
      label(box, x, w);
    }
  };
  for (const box of boxes) box.g.addEventListener("click", () => zoom(box));
  document.addEventListener("keydown", (event) => event.key === "Escape" && zoom(boxes[0]));
}
