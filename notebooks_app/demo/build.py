"""Writes demo.ipynb: `python -m notebooks_app.demo.build`. Raise DEMO_VERSION when it changes.

The story: `rate` alone decides how quickly an average follows the weather, and later a shop's sales; what shows it
follows when it changes, and the data, the comparison of all rates and the queries of the shop stay as they are. All
data is on the machine: vega_datasets ships the weather, sample.py makes the shop.
"""

from __future__ import annotations

from pathlib import Path

from notebooks_app.formats import ImportedCell, ImportedNotebook, ipynb

PYTHON, SQL, TEXT = "python", "sql", "markdown"

# (type, result name, source)
CELLS: list[tuple[str, str, str]] = [
    (
        TEXT,
        "",
        """# One number, and all that follows from it

This notebook keeps itself up to date. Each cell knows the names it defines and the names it uses: change one, and
**what depends on it runs again, and nothing else**.

1. Press **Run all** above.
2. Drag `rate` below to `0.5`, and scroll: every chart of it has changed, and a warning has come up. The slow
   comparison further down has not run again, because it never asks for `rate`.
3. Each cell says why it ran. Click a name at a cell's head to go where it is defined.""",
    ),
    (
        PYTHON,
        "",
        """import sys
import time

import altair as alt
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.express as px
from tqdm import tqdm
from vega_datasets import data""",
    ),
    (
        TEXT,
        "",
        "## The number\nHow quickly should an average follow what is new? `1` forgets at once, `0.01` hardly moves.",
    ),
    (PYTHON, "", 'rate = 0.15  #@param {type:"slider", min:0.01, max:0.99, step:0.01}'),
    (
        PYTHON,
        "",
        """half_life = np.log(0.5) / np.log(1 - rate)
print(f"At {rate:.0%} a day counts half as much after {half_life:.1f} days.")""",
    ),
    (
        TEXT,
        "",
        r"""Let $x_t$ be the value of day $t$. The level $\ell_t$ moves towards it by the rate $\alpha$:

$$\ell_t = \alpha\,x_t + (1 - \alpha)\,\ell_{t-1}
= \alpha \sum_{k=0}^{t-1} (1 - \alpha)^k\,x_{t-k} + (1 - \alpha)^t\,x_0$$

and a day is as **surprising** as it is far from the level of the week before: $s_t = x_t - \ell_{t-7}$.""",
    ),
    (
        PYTHON,
        "",
        '''def smooth(values):
    """The level of a series. Cells that call this depend on `rate` through it."""
    return values.ewm(alpha=rate, adjust=False).mean()''',
    ),
    (TEXT, "", "## Four years of weather\nSeattle, day by day. Click a column's head to sort by it."),
    (
        PYTHON,
        "",
        """weather = data.seattle_weather()
weather["month"] = weather.date.dt.month
weather""",
    ),
    (
        PYTHON,
        "",
        """trend = weather[["date", "month", "weather", "temp_max"]].copy()
trend["level"] = smooth(trend.temp_max).round(2)
trend["surprise"] = (trend.temp_max - trend.level.shift(7)).round(2)
trend""",
    ),
    (TEXT, "", "## See it move\nmatplotlib, Altair and Plotly, side by side, all drawn from `trend`."),
    (
        PYTHON,
        "",
        """_figure, _axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
_axes.plot(trend.date, trend.temp_max, "#c4cfcc", linewidth=0.8, label="each day")
_axes.plot(trend.date, trend.level, "#0b6c80", linewidth=2, label=f"at rate {rate}")
_axes.set_ylabel("Maximum, °C")
_axes.legend(frameon=False, loc="upper left", ncols=2)
_axes.spines[["top", "right"]].set_visible(False)""",
    ),
    (
        TEXT,
        "",
        """Names that begin with one underscore, like `_figure` and `_axes`, are **private to their cell**: every cell
may have its own. All other names are defined in one cell only; a second one would be told so.""",
    ),
    (
        PYTHON,
        "",
        """alt.Chart(trend).mark_circle(size=26, opacity=0.65).encode(
    x=alt.X("monthdate(date):T", title=None, axis=alt.Axis(format="%b")),
    y=alt.Y("surprise:Q", title="Surprise, °C"),
    color=alt.Color("weather:N", title=None, scale=alt.Scale(
        domain=["sun", "fog", "drizzle", "rain", "snow"],
        range=["#d9a400", "#9aa5a2", "#67b0d8", "#1668b0", "#8d5bc1"],
    )),
    tooltip=["date:T", "weather:N", "temp_max:Q", "surprise:Q"],
).properties(width=620, height=260).interactive()""",
    ),
    (
        PYTHON,
        "",
        """_figure = px.box(trend, x="month", y="surprise", height=360)
_figure.update_traces(marker_color="#cc3d05", line_width=1.2)
_figure.update_layout(title=f"Surprise by month, at rate {rate}")
_figure.update_layout(xaxis_title="Month", yaxis_title="Surprise, °C")
_figure""",
    ),
    (
        TEXT,
        "",
        """## Is it a good rate?
Try 80 rates and see which would have been surprised least. This takes a moment: the bar moves in every open
browser, and **Stop** ends it. It does *not* use `rate`, so a change of it leaves this alone.""",
    ),
    (
        PYTHON,
        "",
        """rates = np.linspace(0.02, 1, 80)
_errors = []
for _candidate in tqdm(rates, desc="Rates"):
    _levels = weather.temp_max.ewm(alpha=_candidate, adjust=False).mean()
    _errors.append((weather.temp_max - _levels.shift(7)).abs().mean())
    time.sleep(0.02)
comparison = pd.DataFrame({"rate": rates, "error": _errors})""",
    ),
    (
        PYTHON,
        "",
        """best = comparison.loc[comparison.error.idxmin()]
error = trend.surprise.abs().mean()
print(f"The best rate is {best.rate:.2f}: it is wrong by {best.error:.2f} °C.")
print(f"Yours is {rate}: it is wrong by {error:.2f} °C.")
if error > 1.05 * best.error:
    print("That is more than 5 % worse: try another rate.", file=sys.stderr)""",
    ),
    (
        PYTHON,
        "",
        """_figure = px.line(comparison, x="rate", y="error", height=320)
_figure.add_vline(x=rate, line_dash="dot", annotation_text=f"yours: {rate}")
_figure.update_layout(title="Which rate is surprised least?")
_figure.update_layout(xaxis_title="Rate", yaxis_title="Mean surprise, °C")
_figure""",
    ),
    (
        TEXT,
        "",
        """## SQL over a dataframe
A SQL cell reads any dataframe by its name, with DuckDB. `{limit}` is bound as a value, never pasted into the text. The
result is a dataframe again, under the name at the cell's head.""",
    ),
    (PYTHON, "", "limit = round(2 * float(trend.surprise.std()), 1)\nlimit"),
    (
        SQL,
        "odd_days",
        """SELECT weather AS kind, count(*) AS days, round(avg(surprise), 1) AS mean_surprise
FROM trend
WHERE abs(surprise) >= {limit}
GROUP BY weather
ORDER BY days DESC""",
    ),
    (
        PYTHON,
        "",
        """_days = int(odd_days.days.sum())
print(f"{_days} of {len(trend):,} days were {limit} °C or more off.")
print(f"Most of them had {odd_days.kind[0]}.")""",
    ),
    (
        TEXT,
        "",
        """## SQL over a database
A small shop for coffee equipment comes with Rillbook, as `sample`. Your own databases are *connections*: choose one at
a SQL cell's head. Their passwords never reach this notebook's code.""",
    ),
    (
        SQL,
        "sales",
        """SELECT
    date_trunc('week', o.placed_at) AS week,
    c.segment,
    sum(o.amount)::DOUBLE AS revenue
FROM sample.orders AS o
JOIN sample.customers AS c USING (customer_id)
GROUP BY week, c.segment
ORDER BY week, c.segment""",
    ),
    (
        PYTHON,
        "",
        """weekly = sales.pivot(index="week", columns="segment", values="revenue").fillna(0)
_figure = px.line(smooth(weekly), height=360)
_figure.update_layout(title=f"Revenue a week, smoothed at rate {rate}")
_figure.update_layout(xaxis_title=None, yaxis_title=None, legend_title=None)
_figure""",
    ),
    (
        SQL,
        "customers",
        """-- What a discount of the same rate would have left of each segment's revenue
SELECT
    c.segment,
    count(DISTINCT c.customer_id) AS customers,
    sum(o.amount)::DOUBLE AS revenue,
    round(sum(o.amount)::DOUBLE * (1 - {rate}), 2) AS after_discount
FROM sample.orders AS o
JOIN sample.customers AS c USING (customer_id)
GROUP BY c.segment
ORDER BY revenue DESC""",
    ),
    (
        TEXT,
        "",
        """## Programs can do it too
Make a token with `python manage.py create_token me --scope edit`. Then open the menu (**⋯**) of the cell
`rate` above, choose **Copy as an API call**, change the number in what you copied, and paste it into a shell
while you watch: one call edits the cell, the other runs what that made stale.

```bash
curl -X PATCH …/cells/…/ -d '{"version": 1, "source": "rate = 0.2"}'
curl -X POST …/runs/ -d '{"stale": true, "wait": true}'
```

Both say what the database holds afterwards.""",
    ),
    (
        TEXT,
        "",
        """## Your turn
Which *kind of weather* is the most surprising? Group by `weather` instead of `month` below, and press
**Shift+Enter**.""",
    ),
    (
        PYTHON,
        "",
        """_by = trend.surprise.abs().groupby(trend.month).mean()
_by.round(2).sort_values(ascending=False).to_frame("mean surprise, °C")""",
    ),
    (
        TEXT,
        "",
        """Then:

- Define `rate` a second time, in a new cell (**Esc**, then **B**), and see what both cells say.
- Delete the cell that loads `weather`: what needs it says so, by name. **Esc**, then **Z**, takes it back.
- Open this page in a second window and type in both.
- Press **?** for all keys.""",
    ),
]


def build() -> str:
    """The text of demo.ipynb."""
    cells = [
        ImportedCell(type=kind, source=source, id=f"demo-{number:02}", result_name=result_name)
        for number, (kind, result_name, source) in enumerate(CELLS, start=1)
    ]
    return ipynb.write(ImportedNotebook(name="Demo", cells=cells))


if __name__ == "__main__":
    Path(__file__).with_name("demo.ipynb").write_text(build(), encoding="utf-8")
