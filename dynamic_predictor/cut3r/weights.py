"""The published files of weights of CUT3R. Its authors publish on Google Drive alone."""

from dynamic_predictor.weights.entry import DUST3R_FAMILY, WeightsFile

CUT3R_512, CUT3R_224 = WEIGHTS = (
    WeightsFile(
        name="cut3r-512",
        system="CUT3R",
        purpose="online pointmaps and cameras, 512 pixels",
        license=DUST3R_FAMILY,
        file="cut3r_512_dpt_4_64.pth",
        # the copy that the authors of VMem keep on the hub
        repository="liguang0115/cut3r",
        revision="b14faf986da0df405cff1b41e60e2975c4da2745",
        page="https://drive.google.com/file/d/1Asz-ZB3FfpzZYwunhQvNPZEUA8XUNAYD/view",
        size=3_173_761_006,
        sha256="45f7e98a0a64dbeb54901ae2b878cd8cd125f20a4497316483f0bd6f109f8103",
        inventory="cut3r-512",
    ),
    WeightsFile(
        name="cut3r-224",
        system="CUT3R",
        purpose="online pointmaps and cameras, 224 pixels",
        license=DUST3R_FAMILY,
        file="cut3r_224_linear_4.pth",
        page="https://drive.google.com/file/d/11dAgFkWHpaOHsR6iuitlB_v4NFFBrWjy/view",
        inventory="cut3r-224",
    ),
)
