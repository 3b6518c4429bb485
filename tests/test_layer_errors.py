"""What layers refuse: shapes that do not fit are told with the layer, what it got and what it needs; bad arguments."""

import numpy as np
import pytest

import bpfast as bp

D, R = bp.Dense, bp.Residual
IMAGE, SEQUENCE = (4, 3, 2), (7, 2)

MISFITS = {  # the shape of a row, layers, what the message says
    "dense on an image": (IMAGE, [D(3)], r"layer 0 \(Dense\).* vector .*gets \(4, 3, 2\).*Flatten\(\)"),
    "dense on a sequence": ((4, 3), [D(3)],
                            r"layer 0 \(Dense\).* vector .*gets \(4, 3\); put Flatten\(\) or GlobalAvgPool1D\(\)"),
    "dense after a convolution": (IMAGE, [bp.Conv2D(5), D(3, name="last")],
                                  r"layer last \(Dense\).*vector.*\(4, 3, 5\).*Flatten\(\) or GlobalAvgPool2D\(\)"),
    "convolution on a vector": (5, [bp.Conv2D(3)], r"layer 0 \(Conv2D\).*\(height, width, channels\).*gets \(5,\); "
                                r"X\.reshape\(-1, height, width, channels\)"),
    "convolution on a square": (784, [bp.Conv2D(3)], r"gets \(784,\); X\.reshape\(-1, 28, 28, 1\)"),
    "convolution on grey images": ((4, 3), [bp.Conv2D(3)], r"layer 0 \(Conv2D\).*gets \(4, 3\); X\[\.\.\., None\] has "
                                   r"one channel, X\[None\] is one image; Conv1D, MaxPool1D .* are for sequences"),
    "convolution after flatten": (IMAGE, [bp.Flatten(), bp.Conv2D(3)],
                                  r"layer 1 \(Conv2D\).*gets \(24,\); it must come before .* Flatten\(\)"),
    "1d after dense": (4, [D(3), bp.Conv1D(3)], r"layer 1 \(Conv1D\).*gets \(3,\); it must come before .* Dense\(\)"),
    "2d after 1d": ((4, 3), [bp.Conv1D(3), bp.Conv2D(3)],
                    r"layer 1 \(Conv2D\).*gets \(4, 3\); Conv1D, MaxPool1D .* are for sequences$"),
    "1d on an image": (IMAGE, [bp.Conv1D(3)], r"layer 0 \(Conv1D\).*\(length, channels\).*gets \(4, 3, 2\); "
                                              "Conv2D, MaxPool2D .* are for images$"),
    "1d on a vector": (4, [bp.Conv1D(3)], r"layer 0 \(Conv1D\).*\(length, channels\).*gets \(4,\); X\[\.\.\., None\] "
                                          r"has one channel, X\[None\] is one sequence$"),
    "a pool of vectors": (4, [bp.MaxPool2D()], r"layer 0 \(MaxPool2D\).*gets \(4,\); X\.reshape\(-1, 2, 2, 1\)"),
    "a mean of sequences": ((4, 3), [bp.GlobalAvgPool2D()],
                            r"layer 0 \(GlobalAvgPool2D\).*gets \(4, 3\).*GlobalAvgPool1D are for sequences"),
    "a large kernel": (IMAGE, [bp.Conv2D(3, 5, padding="valid")],
                       r"layer 0 \(Conv2D\).*\(5, 5\) is larger than .*\(4, 3\).*padding='same'"),
    "a wide kernel": (IMAGE, [bp.Conv2D(3, (1, 4), padding="valid")], r"layer 0 \(Conv2D\).*\(1, 4\) .*\(4, 3\)"),
    "a large pool": (IMAGE, [bp.Conv2D(3), bp.AvgPool2D(4)], r"layer 1 \(AvgPool2D\).*\(4, 4\).*\(4, 3\)"),
    "a long kernel": ((4, 3), [bp.Conv1D(3, 5, padding="valid")],
                      r"layer 0 \(Conv1D\).*5 is longer than the sequence, 4"),
    "sides that differ": (IMAGE, [R(bp.Conv2D(5))],
                          r"layer 0 \(Residual\).*\(4, 3, 2\) into \(4, 3, 5\).*shortcut=.*Conv2D.*\(4, 3, 5\)"),
    "a branch that halves": (IMAGE, [R(bp.Conv2D(2, stride=2))], r"layer 0 \(Residual\).*into \(2, 2, 2\)"),
    "a wrong shortcut": (IMAGE, [R(bp.Conv2D(5), shortcut=bp.Conv2D(6, 1))],
                         r"layer 0 \(Residual\).*\(4, 3, 5\).*\(4, 3, 6\).*let the shortcut make \(4, 3, 5\)"),
    "within a branch": (IMAGE, [bp.Conv2D(2), R(bp.Conv2D(2), D(2))], r"layer 1\.1 \(Dense\).*\(4, 3, 2\)"),
    "within a shortcut": (IMAGE, [R(bp.Conv2D(5), shortcut=D(5))], r"layer 0\.shortcut\.0 \(Dense\).*\(4, 3, 2\)"),
    "a softmax of images": (IMAGE, [bp.Conv2D(3, 3, "softmax")], r"layer 0 \(Conv2D\): its activation 'softmax' is of "
                            r"whole rows, which images .*: use Activation\('softmax'\) after Flatten\(\)"),
    "a softmax of sequences": ((4, 3), [bp.Conv1D(3, 3, "softmax")], r"layer 0 \(Conv1D\): its activation 'softmax'"),
    "a softmax of its own": (IMAGE, [bp.Activation("softmax")], r"layer 0 \(Activation\): its activation 'softmax' is"),
    "standardize within": (4, [D(3), bp.Standardize()], r"layer 1 \(Standardize\).*first layer.*BatchNorm\(\)"),
    "a block of vectors": (4, [bp.ResidualBlock(3)], r"layer 0.*image.*gets \(4,\)"),
    "nothing to compute": (4, [bp.Flatten()], "compute nothing.*Dense"),
    "no pixels": ((0, 3, 2), [bp.Conv2D(3)], "input_shape must be an integer of at least 1, got 0"),
    "four dimensions": ((1, 2, 3, 4), [bp.Flatten(), D(3)], r"\(height, width, channels\), got \(1, 2, 3, 4\)"),
    "half a pixel": ((2.5, 3, 2), [bp.Conv2D(3)], "input_shape must be an integer"),
}


@pytest.mark.parametrize("shape, layers, message", MISFITS.values(), ids=MISFITS)
def test_shapes_that_do_not_fit(shape, layers, message):
    with pytest.raises(ValueError, match=message):
        bp.Network(layers, input_shape=shape)


@pytest.mark.parametrize("name", ["dense on an image", "convolution on a vector", "a large kernel"])
def test_the_first_data_do_not_fit(name, rng):
    """The network stays as it was: other data may come."""
    shape, layers, message = MISFITS[name]
    net = bp.Network(layers)
    X = rng.normal(size=(5, *np.atleast_1d(shape)))
    for use in (net.predict, lambda X: bp.Trainer(net, loss="squared_error", backend="numpy").fit(X, X)):
        with pytest.raises(ValueError, match=message):
            use(X)
        assert net.program is None


@pytest.mark.parametrize("shape, given, message", [
    (IMAGE, (5, 24), r"\(n_samples, 4, 3, 2\), got \(5, 24\); X.reshape\(-1, 4, 3, 2\), if .* in this order$"),
    (IMAGE, (5, 12, 2), r"\(n_samples, 4, 3, 2\), got \(5, 12, 2\); X.reshape"),
    (IMAGE, (5, 2, 4, 3), r"got \(5, 2, 4, 3\); channels come last: np.moveaxis\(X, 1, -1\)$"),
    (IMAGE, (5, 4, 3, 1), r"\(n_samples, 4, 3, 2\), got \(5, 4, 3, 1\)$"),
    (IMAGE, (4, 3, 2), r"\(n_samples, 4, 3, 2\), got \(4, 3, 2\); one image is X\[None\]$"),
    (IMAGE, (4,), r"\(n_samples, 4, 3, 2\), got \(4,\)$"),
    (IMAGE, (5, 1, 4, 3, 2), r"\(n_samples, 4, 3, 2\), got \(5, 1, 4, 3, 2\); X.reshape\(-1, 4, 3, 2\)"),
    (SEQUENCE, (5, 2, 7), r"\(n_samples, 7, 2\), got \(5, 2, 7\); channels come last: np.moveaxis\(X, 1, -1\)$"),
    (SEQUENCE, (7, 2), r"\(n_samples, 7, 2\), got \(7, 2\); one sequence is X\[None\]$"),
    (24, (5, 4, 3, 2), r"\(n_samples, 24\), got \(5, 4, 3, 2\); X.reshape\(-1, 24\), if .* in this order$"),
    (24, (24,), r"\(n_samples, 24\), got \(24,\); one row is X.reshape\(1, -1\), one column X.reshape\(-1, 1\)$"),
    (24, (5, 25), "25 columns.*24 inputs"),
    (IMAGE, (5, 0, 3, 2), r"X is empty.*\(5, 0, 3, 2\)"),
    (IMAGE, (0, 4, 3, 2), r"X is empty.*\(0, 4, 3, 2\)"),
], ids=str)
def test_rows_of_another_shape(shape, given, message):
    net = bp.Network([bp.Flatten(), D(1)], input_shape=shape)
    trainer = bp.Trainer(net, loss="squared_error", backend="numpy")
    for use in (net.predict, trainer.predict, lambda X: trainer.fit(X, np.ones(len(X)))):
        with pytest.raises(ValueError, match=message):
            use(np.ones(given))


def test_x_that_is_not_finite_names_the_pixel(engine):
    X = np.zeros((5, *IMAGE))
    X[3, 1, 2, 0] = np.nan
    net = bp.Network([bp.Conv2D(2), bp.GlobalAvgPool2D()], input_shape=IMAGE)
    with pytest.raises(ValueError, match=r"X\[3, 1, 2, 0\] is nan"):
        bp.Trainer(net, loss="squared_error", backend=engine).predict(X)


def test_targets_of_images(rng):
    X = rng.normal(size=(5, *IMAGE))
    trainer = bp.Trainer(bp.Network([bp.Conv2D(1)], input_shape=IMAGE), loss="squared_error", backend="numpy")
    for wrong in ((5, 4, 3), (5, 3, 4, 1), (5, 11), (4, 4, 3, 1)):
        with pytest.raises(ValueError, match=r"y must have shape \(n_samples, 12\) or \(n_samples, 4, 3, 1\) for|"
                                             "they must be the same"):
            trainer.fit(X, np.zeros(wrong))


REFUSED = {  # call, what the message says
    "activation": (lambda: bp.Activation("swich"), "unknown activation 'swich'"),
    "initial": (lambda: bp.Scale("x"), "Scale: initial must be a number"),
    "infinite": (lambda: bp.Scale(np.inf), "Scale: initial"),
    "rate of 1": (lambda: bp.Dropout(1.0), r"Dropout: rate must be a number in \[0, 1\), got 1.0"),
    "negative rate": (lambda: bp.AlphaDropout(-0.1), r"AlphaDropout: rate must be a number in \[0, 1\)"),
    "nan": (lambda: bp.Dropout(np.nan), "Dropout: rate"),
    "momentum": (lambda: bp.BatchNorm(momentum=1.5), r"BatchNorm: momentum must be a number in \[0, 1\], got 1.5"),
    "eps": (lambda: bp.BatchNorm(eps=0), "BatchNorm: eps"),
    "affine": (lambda: bp.BatchNorm(affine=1), "BatchNorm: affine must be True or False, got 1"),
    "eps of layers": (lambda: bp.LayerNorm(eps=0), "LayerNorm: eps"),
    "affine of layers": (lambda: bp.LayerNorm(affine="no"), "LayerNorm: affine must be True or False"),
    "no branch": (lambda: R(), "Residual needs at least one layer"),
    "a branch of no layer": (lambda: R(D(3), "relu"), "Residual: layer 1 must be a layer.*'relu'"),
    "no shortcut": (lambda: R(D(3), shortcut=()), "Residual: shortcut needs at least one layer"),
    "a shortcut of no layer": (lambda: R(D(3), shortcut=[3]), "Residual: shortcut: layer 0 must be a layer"),
    "filters": (lambda: bp.Conv2D(0), "Conv2D: filters must be an integer of at least 1, got 0"),
    "filters of 1d": (lambda: bp.Conv1D(2.5), "Conv1D: filters must be an integer"),
    "kernel": (lambda: bp.Conv2D(3, 0), "Conv2D: kernel must be an integer of at least 1, got 0"),
    "half a kernel": (lambda: bp.Conv2D(3, (3, 1.5)), "Conv2D: kernel must be an integer"),
    "three sizes": (lambda: bp.Conv2D(3, (1, 2, 3)), r"Conv2D: kernel must be one number or \(height, width\), got"),
    "two sizes of 1d": (lambda: bp.Conv1D(3, (1, 2)), r"Conv1D: kernel must be one number, got \(1, 2\)"),
    "an activation for a kernel": (lambda: bp.Conv2D(3, "relu"), "Conv2D: kernel must be an integer.*'relu'"),
    "stride": (lambda: bp.Conv2D(3, stride=0), "Conv2D: stride must be an integer of at least 1"),
    "padding": (lambda: bp.Conv2D(3, padding=1), "Conv2D: padding must be 'same' or 'valid', got 1"),
    "padding of a pool": (lambda: bp.AvgPool2D(padding="SAME"), "AvgPool2D: padding must be 'same' or 'valid'"),
    "bias": (lambda: bp.Conv2D(3, bias=None), "Conv2D: bias must be True or False, got None"),
    "initializer": (lambda: bp.Conv2D(3, initializer="h"), "unknown initializer 'h'"),
    "size": (lambda: bp.MaxPool2D(0), "MaxPool2D: size must be an integer of at least 1"),
    "stride of a pool": (lambda: bp.MaxPool2D(2, stride=-1), "MaxPool2D: stride must be an integer"),
    "filters of a block": (lambda: bp.ResidualBlock("16"), "ResidualBlock: filters must be an integer"),
    "stride of a block": (lambda: bp.ResidualBlock(16, stride=(2, 2)), "ResidualBlock: stride must be an integer"),
    "groups": (lambda: bp.resnet((1, 2), (3, 4, 5), 10), "resnet: 3 groups.*n_blocks"),
    "no blocks": (lambda: bp.resnet(0, 3, 10), "resnet: n_blocks must be an integer of at least 1"),
    "no groups": (lambda: bp.resnet(1, (), 10), "resnet: "),
    "no classes": (lambda: bp.resnet(1, 3, 0), "units"),
}


@pytest.mark.parametrize("make, message", REFUSED.values(), ids=REFUSED)
def test_refused_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("kind", [bp.Activation, bp.Flatten, bp.Scale, bp.Standardize, bp.Dropout, bp.AlphaDropout,
                                  bp.BatchNorm, bp.LayerNorm, bp.Conv2D, bp.Conv1D, bp.MaxPool2D, bp.AvgPool2D,
                                  bp.GlobalAvgPool2D, bp.MaxPool1D, bp.AvgPool1D, bp.GlobalAvgPool1D,
                                  bp.ResidualBlock])
def test_refused_names(kind):
    needed = {bp.Activation: ("relu",), bp.Conv2D: (3,), bp.Conv1D: (3,), bp.ResidualBlock: (3,)}.get(kind, ())
    for name in ("", "a.b", 3):
        with pytest.raises(ValueError, match=f"{kind.__name__}: name must be a string without dots"):
            kind(*needed, name=name)


def test_resnet_is_what_the_paper_says():
    """20 layers with weights for 3 blocks in 3 groups: He et al. 2016, section 4.2; 0.27 million parameters there."""
    net = bp.resnet(3, (16, 32, 64), 10, input_shape=(32, 32, 3), seed=0)
    kernels = [name for name, array in net.parameters.items() if array.ndim == 4 and "shortcut" not in name]
    assert len(kernels) + 1 == 20
    assert 0.265e6 < net.to_vector().size < 0.28e6
    assert [net.program.value_shapes[i.output] for i in net.program.instructions if i.layer.endswith("conv1")] == [
        *[(32, 32, 16)] * 3, *[(16, 16, 32)] * 3, *[(8, 8, 64)] * 3]
    assert bp.resnet((1, 2), (3, 4), 2).layers[3:6] == (
        bp.ResidualBlock(3), bp.ResidualBlock(4, stride=2), bp.ResidualBlock(4))
