"""Style and script of the HTML report; both are named by their digest in its security policy."""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#5c6773;--line:#d9dee4;--card:#f5f7f9;
--breach:#c62828;--unexplained:#8e24aa;--indeterminate:#b26a00;--blocked:#1565c0;--error:#6b7480;
--allowed:#2e7d32;--on:#fff}
@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e3e8ee;--dim:#98a4b1;--line:#303842;
--card:#1c2229;--breach:#ff6b6b;--unexplained:#d59ae6;--indeterminate:#f5b83d;--blocked:#63aef5;
--error:#8e99a5;--allowed:#74c27a;--on:#14181d}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px;max-width:1320px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 8px}h3{font-size:15px;margin:0}
p{margin:4px 0}.dim{color:var(--dim)}
code,td,.mono{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:13px}
.alarm{border-left:5px solid var(--breach);background:var(--card);padding:8px 14px;margin:8px 0;
color:var(--breach);font-weight:600}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 16px;
margin:10px 0;overflow-wrap:anywhere}
.card ul{margin:6px 0;padding-left:20px}summary{cursor:pointer;color:var(--dim)}
.tiles{display:flex;flex-wrap:wrap;gap:10px;margin:14px 0}
.tile{flex:1 1 130px;border:1px solid var(--line);border-top:4px solid;border-radius:8px;
padding:8px 12px;color:var(--dim)}
.tile b{display:block;font-size:24px;line-height:1.3;color:var(--fg)}.tile.none{opacity:.55}
.t-breach{border-top-color:var(--breach)}.t-unexplained{border-top-color:var(--unexplained)}
.t-indeterminate{border-top-color:var(--indeterminate)}.t-blocked{border-top-color:var(--blocked)}
.t-error{border-top-color:var(--error)}.t-allowed{border-top-color:var(--allowed)}
.t-breach.some b,.c-breach{color:var(--breach)}.c-unexplained{color:var(--unexplained)}
.c-indeterminate{color:var(--indeterminate)}.c-blocked{color:var(--blocked)}
.c-error{color:var(--error)}.c-allowed{color:var(--allowed)}
.c-breach,.c-unexplained,.c-indeterminate{font-weight:700}
.v-breach{fill:var(--breach);background:var(--breach)}
.v-unexplained{fill:var(--unexplained);background:var(--unexplained)}
.v-indeterminate{fill:var(--indeterminate);background:var(--indeterminate)}
.v-blocked{fill:var(--blocked);background:var(--blocked)}
.v-error{fill:var(--error);background:var(--error)}
.v-allowed{fill:var(--allowed);background:var(--allowed)}
.v-none{fill:var(--card)}.s1{fill-opacity:.25}.s2{fill-opacity:.45}.s3{fill-opacity:.75}
svg{display:block;width:100%;height:auto}svg text{fill:var(--fg);font:13px system-ui,sans-serif}
svg .tick{fill:var(--dim);font-size:12px}svg .on{fill:var(--on)}svg line{stroke:var(--line)}
.key{display:inline-flex;align-items:center;gap:6px;margin-right:16px;color:var(--dim)}
.key i{width:12px;height:12px;border-radius:3px}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%}
th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}tbody tr:hover{background:var(--card)}
td{white-space:nowrap}td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:140px}
th{background:var(--card);white-space:nowrap}.r{text-align:right}
th button{all:unset;cursor:pointer;font:600 13px system-ui,sans-serif}
th button:focus-visible{outline:2px solid var(--blocked)}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
@media print{body{max-width:none}.scroll{overflow:visible}td{white-space:normal}}
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const th = button.parentElement, table = th.closest("table"), body = table.tBodies[0];
    const place = th.cellIndex, now = th.getAttribute("aria-sort");
    const down = now ? now !== "descending" : th.classList.contains("r");  // numbers: most first
    const key = row => {
      const text = row.cells[place].dataset.k ?? "";
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
"""
