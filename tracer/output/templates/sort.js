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
