// Sorts a table by a column, and filters one of many rows by words. Without it all is there.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const th = button.parentElement, table = th.closest("table"), body = table.tBodies[0];
    const column = th.cellIndex, now = th.getAttribute("aria-sort");
    const down = now ? now !== "descending" : th.classList.contains("r");  // numbers: most first
    const key = row => {
      const text = row.cells[column].dataset.k ?? "";
      return text !== "" && !isNaN(text) ? Number(text) : text;
    };
    const rows = [...body.rows].map(row => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      const way = a < b ? -1 : a > b ? 1 : 0;
      return down ? -way : way;
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map(([, row]) => row));
  });
}
for (const box of document.querySelectorAll(".scroll")) {
  const rows = [...box.querySelector("tbody").rows];
  if (rows.length < 5) continue;
  const texts = rows.map(row => row.textContent.toLowerCase());
  const bar = document.createElement("p"), input = document.createElement("input");
  const count = document.createElement("span");
  input.type = "search";
  input.placeholder = `filter ${rows.length} rows: words that a row has, -word that it has not`;
  bar.className = "filter";
  bar.append(input, count);
  box.before(bar);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(word => word && word !== "-");
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = !words.every(word => word[0] === "-"
        ? !texts[place].includes(word.slice(1)) : texts[place].includes(word));
      shown += !row.hidden;
    });
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
}
