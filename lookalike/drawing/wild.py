"""Wild photos: a product as buyers and resellers take it, at home, in poor light, half hidden, scribbled over."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lookalike.drawing.backgrounds import background, grid
from lookalike.drawing.camera import View, cast_shadow, jpeg, project
from lookalike.drawing.clutter import thing

Rng = np.random.Generator
Floats = NDArray[np.float32]
RGB = tuple[int, int, int]


def wild_photo(product: Image.Image, rng: Rng, size_px: int) -> bytes:
    """Returns a JPEG of [size_px, size_px]. product: RGBa (see `draw_product`).

    Photos go from nearly good to hardly usable: one number, drawn first, sets how far everything is off.
    """
    trouble = rng.uniform(0.1, 1.0)
    scene = background(rng, size_px)
    for _ in range(rng.integers(0, 2 + round(2 * trouble))):
        _place(scene, thing(rng, size_px), rng)
    _lay_down(scene, project(product, _handheld(rng, trouble), size_px), rng)
    if rng.random() < 0.6 * trouble:
        _place(scene, thing(rng, size_px), rng, edge=0.15)
    scene = _developed(scene, rng, trouble)
    if rng.random() < 0.35 * trouble:
        _scribble(scene, rng)
    return jpeg(_out_of_focus(scene, rng, trouble), round(rng.uniform(80, 95) - 55 * trouble))


def _handheld(rng: Rng, trouble: float) -> View:
    x, y = rng.normal(0.5, 0.09 * trouble, 2)
    tilt_x, tilt_y = rng.uniform(-0.4, 0.4, 2) * trouble
    return View(
        fill=rng.uniform(0.72, 1.0), centre=(float(x), float(y)), roll=rng.normal(0, 0.4 * trouble),
        tilt=(float(tilt_x), float(tilt_y)), squeeze=1 - rng.uniform(0, 0.25) * trouble,
        mirrored=bool(rng.random() < 0.4),
    )  # fmt: skip


def _lay_down(scene: Image.Image, picture: Image.Image, rng: Rng) -> None:
    mask = picture.getchannel("A")
    x, y = rng.uniform(-0.05, 0.05), rng.uniform(0.0, 0.06)
    cast_shadow(scene, mask, offset=(x, y), blur=rng.uniform(0.012, 0.035), depth=rng.uniform(0.3, 0.6))
    scene.paste(picture, mask=mask)


def _place(scene: Image.Image, item: Image.Image, rng: Rng, edge: float = 0.3) -> None:
    """Lays a thing near the picture's border. edge: how far in from it the thing's middle may lie, 0…1."""
    along, inwards = rng.uniform(0, 1), rng.uniform(-0.05, edge)
    x, y = ((along, inwards), (along, 1 - inwards), (inwards, along), (1 - inwards, along))[rng.integers(4)]
    layer = Image.new("RGBA", scene.size)
    layer.paste(item, (round(x * scene.width - item.width / 2), round(y * scene.height - item.height / 2)))
    mask = layer.getchannel("A")
    cast_shadow(scene, mask, offset=(0.015, 0.025), blur=0.02, depth=0.4)
    scene.paste(layer, mask=mask)


def _developed(scene: Image.Image, rng: Rng, trouble: float) -> Image.Image:
    """The scene in uneven light of some colour, through a cheap lens and sensor."""
    pixels = np.asarray(scene, np.float32) * _light(rng, scene.width, trouble)[..., None]
    pixels = pixels * _white_balance(rng, trouble)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * np.float32(1 + rng.uniform(-0.4, 0.12) * trouble)
    contrast, haze = np.float32(1 - rng.uniform(-0.1, 0.22) * trouble), np.float32(rng.uniform(0, 26) * trouble)
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(1 + rng.uniform(0, 6) * trouble)
    return Image.fromarray(np.clip(pixels * contrast + haze + noise, 0, 255).astype(np.uint8))


def _light(rng: Rng, side: int, trouble: float) -> Floats:
    """Light that falls off from one side and to the corners, now and then through blinds: [side, side]."""
    x, y = grid(side)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (x - 0.5) * np.float32(np.cos(angle)) + (y - 0.5) * np.float32(np.sin(angle))
    light = 1 + ramp * np.float32(rng.uniform(0, 0.8) * trouble)
    if rng.random() < 0.25 * trouble:
        shaded = np.sin(ramp * np.float32(rng.uniform(18, 45))) < 0.1
        light = light * np.where(shaded, np.float32(0.72), np.float32(1.15))
    corners = np.float32(rng.uniform(0, 0.6) * trouble) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    return np.asarray(light * (1 - corners), np.float32)


def _white_balance(rng: Rng, trouble: float) -> Floats:
    """The gains of red, green and blue: warm or cold, tinted, too dark or too bright."""
    warmth, tint, exposure = rng.normal(0, 0.14), rng.normal(0, 0.05), rng.normal(-0.05, 0.22)
    gains = np.exp((np.array([warmth, tint, -warmth]) + exposure) * trouble)
    return np.asarray(gains, np.float32)


def _scribble(scene: Image.Image, rng: Rng) -> None:
    """What resellers leave on a photo: pen strokes, a ring around the goods, a price tag."""
    draw, side = ImageDraw.Draw(scene), scene.width
    ink = ((230, 40, 40), (250, 220, 40), (60, 200, 90), (40, 90, 230), (250, 250, 250), (20, 20, 20))[rng.integers(6)]
    width = max(2, round(side * rng.uniform(0.012, 0.03)))
    style = rng.integers(3)
    if style == 0:
        turn = np.linspace(0, rng.uniform(9, 20), 90)
        x = 0.15 + 0.7 * turn / turn[-1] + 0.06 * np.cos(turn * 2)
        y = rng.uniform(0.3, 0.7) + 0.14 * np.sin(turn * 2) + 0.05 * np.sin(turn * 0.7)
        draw.line([(a * side, b * side) for a, b in zip(x, y, strict=True)], fill=ink, width=width, joint="curve")
    elif style == 1:
        left, top = rng.uniform(0.05, 0.2, 2) * side
        draw.ellipse((left, top, side - left, side - top), outline=ink, width=width)
    else:
        _price_tag(draw, side, ink, rng)


def _price_tag(draw: ImageDraw.ImageDraw, side: int, ink: RGB, rng: Rng) -> None:
    x, y = rng.uniform(0.05, 0.5, 2) * side
    draw.rounded_rectangle((x, y, x + side * 0.42, y + side * 0.18), side * 0.03, fill=ink)
    text = (20, 20, 20) if sum(ink) > 330 else (250, 250, 250)
    draw.text((x + side * 0.05, y + side * 0.02), f"${rng.integers(5, 99)}", fill=text, font_size=side * 0.12)


def _out_of_focus(scene: Image.Image, rng: Rng, trouble: float) -> Image.Image:
    """Blurred, or sent small and enlarged again, or sharp."""
    fate = rng.random() / trouble
    if fate < 0.5:
        return scene.filter(ImageFilter.GaussianBlur(scene.width * rng.uniform(0.003, 0.01)))
    if fate < 0.8:
        small = round(scene.width * rng.uniform(0.45, 0.7))
        return scene.resize((small, small), Image.Resampling.BILINEAR).resize(scene.size, Image.Resampling.BILINEAR)
    return scene
