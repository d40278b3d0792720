"""Writes demo.ipynb: `python -m notebooks_app.demo.build`. Raise DEMO_VERSION when it changes."""

from __future__ import annotations

from pathlib import Path

from notebooks_app.formats import ImportedCell, ImportedNotebook, ipynb

PYTHON, SQL, TEXT = "python", "sql", "markdown"

# (type, result name, source)
CELLS: list[tuple[str, str, str]] = [
    (
        TEXT,
        "",
        """# When is it warm in Seattle?

A notebook that keeps itself up to date. Cells know which names they use; change one and **everything that depends on it
follows**, nothing else.

1. Press **Run all** above.
2. Change `warm_at` under *Your turn* to `25` and press **Ctrl+Enter**: watch which cells run again, and which do not.
3. Each cell says why it ran, what it defines and what it uses. Click a name to go where it is defined.""",
    ),
    (TEXT, "", "## Tools\nOne cell for imports; all others use its names."),
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
    (TEXT, "", "## Data\nFour years of daily weather, shipped with the package `vega_datasets`: no network is needed."),
    (
        PYTHON,
        "",
        """weather = data.seattle_weather()
weather["month"] = weather.date.dt.month
weather""",
    ),
    (TEXT, "", "## Your turn\nFrom how many degrees Celsius is a day *warm*?"),
    (PYTHON, "", "warm_at = 22"),
    (
        TEXT,
        "",
        r"""A day $d$ is warm if its maximum $T_d$ reaches the threshold $w$. The share of warm days of month $m$ is

$$s_m = \frac{1}{|D_m|} \sum_{d \in D_m} [\,T_d \ge w\,]$$

where $D_m$ are the days of that month in all years.""",
    ),
    (
        PYTHON,
        "",
        """warm = weather[weather.temp_max >= warm_at]
print(f"{len(warm):,} of {len(weather):,} days reach {warm_at} °C")""",
    ),
    (
        PYTHON,
        "",
        """warm_share = weather.assign(is_warm=weather.temp_max >= warm_at).groupby("month").is_warm.mean()
warm_share.rename("share of warm days").round(3).to_frame()""",
    ),
    (
        PYTHON,
        "",
        """def month_name(number):
    \"\"\"A function is a name like any other: cells that call it depend on this cell.\"\"\"
    return pd.Timestamp(2026, number, 1).strftime("%b")""",
    ),
    (
        PYTHON,
        "",
        """_figure, _axes = plt.subplots(figsize=(8, 3.2))
_axes.bar([month_name(m) for m in warm_share.index], warm_share, color="#0b6c80")
_axes.set_title(f"Share of days with {warm_at} °C or more")
_axes.yaxis.set_major_formatter("{x:.0%}")
_axes.spines[["top", "right"]].set_visible(False)""",
    ),
    (
        TEXT,
        "",
        """Names with one underscore in front, like `_figure`, are private to their cell: every cell may have its own.

## Charts that react
Altair and Plotly draw in the page; both follow the theme.""",
    ),
    (
        PYTHON,
        "",
        """alt.Chart(weather).mark_circle(opacity=0.6).encode(
    x=alt.X("monthdate(date):T", title="Day of the year"),
    y=alt.Y("temp_max:Q", title="Maximum, °C"),
    color=alt.condition(alt.datum.temp_max >= warm_at, alt.value("#cc3d05"), alt.value("#9aa5a2")),
    tooltip=["date:T", "temp_max:Q", "weather:N"],
).properties(width=620, height=260)""",
    ),
    (
        PYTHON,
        "",
        """monthly = weather.groupby(["month", "weather"]).size().rename("days").reset_index()
px.bar(monthly, x="month", y="days", color="weather", title="Kinds of days", height=360)""",
    ),
    (
        TEXT,
        "",
        """## SQL over a dataframe
A SQL cell reads any dataframe by its name. `{warm_at}` is bound as a value, never pasted into the text. Its result is
a dataframe again, under the name in its head.""",
    ),
    (
        SQL,
        "by_kind",
        """SELECT weather AS kind, count(*) AS days, round(avg(temp_max), 1) AS mean_max
FROM weather
WHERE temp_max >= {warm_at}
GROUP BY weather
ORDER BY days DESC""",
    ),
    (
        PYTHON,
        "",
        """sunny = by_kind.set_index("kind").days.get("sun", 0)
print(f"{sunny / by_kind.days.sum():.0%} of the warm days were sunny")""",
    ),
    (
        TEXT,
        "",
        """## SQL over a database
The sample database of a small shop for coffee equipment comes with Rillbook, as `sample`. Your own databases are
*connections*: choose one in a SQL cell's head. Their passwords never reach this notebook's code.""",
    ),
    (PYTHON, "", "discount = 0.1"),
    (
        SQL,
        "segments",
        """SELECT c.segment, count(*) AS orders, sum(o.amount) AS revenue, sum(o.amount * (1 - {discount})) AS net
FROM sample.orders AS o
JOIN sample.customers AS c USING (customer_id)
GROUP BY c.segment
ORDER BY net DESC""",
    ),
    (
        PYTHON,
        "",
        """cost = float((segments.revenue - segments.net).sum())
print(f"A discount of {discount:.0%} costs {cost:,.0f}.")""",
    ),
    (
        TEXT,
        "",
        """## Work that takes a while
Output streams while a cell runs, to every open browser; **Stop** ends the run. A progress bar stays one line.""",
    ),
    (
        PYTHON,
        "",
        """_random = np.random.default_rng(0)
means = []
for _ in tqdm(range(150), desc="Resampling"):
    means.append(_random.choice(weather.temp_max, len(weather)).mean())
    time.sleep(0.01)""",
    ),
    (
        PYTHON,
        "",
        """low, high = np.percentile(means, [2.5, 97.5])
print(f"Mean maximum: {np.mean(means):.2f} °C, 95 % of resamples between {low:.2f} and {high:.2f}")
if high - low > 0.5:
    print("The interval is wider than half a degree.", file=sys.stderr)""",
    ),
    (
        TEXT,
        "",
        """## Programs work here too
Make a token with `manage.py create_token me --scope edit`, take this notebook's id from the address above and the
cell's from its link, and change the threshold from a shell while you watch this page:

```bash
curl -X PATCH http://127.0.0.1:8000/api/v1/notebooks/NOTEBOOK/cells/CELL/ \\
     -H "Authorization: Bearer TOKEN" -H "Content-Type: application/json" \\
     -d '{"source": "warm_at = 25", "version": 1}'

curl -X POST http://127.0.0.1:8000/api/v1/notebooks/NOTEBOOK/runs/ \\
     -H "Authorization: Bearer TOKEN" -H "Content-Type: application/json" \\
     -d '{"stale": true, "wait": true}'
```""",
    ),
    (
        TEXT,
        "",
        """## Try next
- Change `discount` above: the query and its cost follow, the weather does not move.
- Press **Esc**, then **B**, for a new cell; type `warm_share.idxmax()` and run it with **Shift+Enter**.
- Open this page in a second window, and type in both.
- Press **?** for all keys.""",
    ),
    (PYTHON, "", "hottest = weather.loc[weather.temp_max.idxmax()]\nhottest"),
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
