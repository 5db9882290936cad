// What the theme's script leaves out. What is wider than the screen scrolls (code, tables, formulas), so the keyboard has to
// reach it; and neither the corner with a block's copy button nor a part of a page's contents is a landmark of the page.
const mend = () => {
  for (const wide of document.querySelectorAll(".md-typeset :is(pre > code, .md-typeset__scrollwrap, .dataframe, math)")) {
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
    else wide.removeAttribute("tabindex");
  }
  for (const part of document.querySelectorAll(".md-code__nav, .md-nav--secondary nav")) {
    part.setAttribute("role", "presentation");
    part.removeAttribute("aria-label");
  }
};
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
addEventListener("resize", mend);
mend();
