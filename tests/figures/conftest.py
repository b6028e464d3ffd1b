import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_screen():
    mpl.use("agg")
    yield
    plt.close("all")
