"""The same house rules in the kinds of prose that are read."""

from __future__ import annotations

MARKDOWN = """---
title: "House rules"
---
# House rules

The radiator stays cold:
open the valve.

## Keys **and** [locks](https://example.org)

A second key costs ten euros.

```sh
# no heading

make key
```

Lifts
-----

- one
- two

<!-- hidden

also hidden -->
The end.
"""
RST = """===========
House rules
===========

.. _keys:

Keys
----

A second key costs ten euros.

.. toctree::
   :maxdepth: 2

   intro
   usage

.. note:: Ask
   the caretaker.

Lifts
^^^^^

Out of order.
"""
HTML = """<!doctype html><html><head><meta charset="utf-8"><title>Rules &amp; keys - My site</title>
<style>p { color: red }</style></head><body>
<nav><ul><li><a href="/">Home</a></li></ul></nav>
<h1>House rules</h1>
<p>The radiator <b>stays</b> cold:
 open the valve.</p>
<h2>Keys</h2><ul><li>one<li>two &lt; three</ul>
<table><tr><td>key</td><td title="a > b">10</td></tr></table>
<pre>x =
  1</pre>
<script>if (a < b) { document.write("<p>never</p>") }</script>
<footer><p>Imprint</p></footer></body></html>
"""
