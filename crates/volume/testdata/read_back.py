"""Reads what the test `files_for_others` wrote, by other programs, and compares.

CROSSMOD_TEST_OUT=FOLDER cargo test --release -p crossmod-volume files_for_others
python read_back.py FOLDER
(run with pydicom 3.0.2, highdicom 0.28.2, rt-utils 1.2.7, SimpleITK 2.5.7, nibabel 5.4.2,
scikit-image 0.26)
"""
import pathlib
import sys

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
from rt_utils import RTStructBuilder
from skimage.measure import points_in_poly


def by_itk(path):
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image


def same_place(a, b):
    return (
        a.GetSize() == b.GetSize()
        and np.allclose(a.GetOrigin(), b.GetOrigin(), atol=1e-4)
        and np.allclose(a.GetSpacing(), b.GetSpacing(), atol=1e-5)
        and np.allclose(a.GetDirection(), b.GetDirection(), atol=1e-5)
    )


for folder in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir()):
    series = pathlib.Path((folder / "series.txt").read_text())
    truth, place = by_itk(folder / "l.nii.gz")
    for name in ["l.hdr", "l.nrrd", "l.mha", "l.mhd"]:
        found, there = by_itk(folder / name)
        assert (found == truth).all() and same_place(there, place), (folder, name)
    image, there = by_itk(folder / "i.nii")
    assert same_place(there, place)
    for name in ["i.nrrd", "i.mha", "i.mhd", "i.img.gz"]:
        found, there = by_itk(folder / name)
        assert (found == image).all() and same_place(there, place), (folder, name)
    again = nib.load(folder / "i.img.gz")
    assert (again.get_fdata().T == image).all()

    # The files that the objects refer to.
    files = {}
    for path in series.iterdir():
        ds = pydicom.dcmread(path, force=True)
        if "PixelData" in ds:
            files[ds.SOPInstanceUID] = ds
    first = next(iter(files.values()))

    seg = hd.seg.segread(folder / "seg.dcm")
    assert seg.PatientID == first.get("PatientID", "") and seg.PatientName == first.PatientName
    assert seg.StudyInstanceUID == first.StudyInstanceUID
    assert seg.FrameOfReferenceUID == first.get("FrameOfReferenceUID", seg.FrameOfReferenceUID)
    labels = [seg.get_segment_description(n).segment_label for n in seg.segment_numbers]
    assert labels == ["ring", "label 2", "blob"], labels
    number = {1: 1, 2: 2, 7: 3}
    numbered = np.vectorize(lambda v: number.get(v, 0))(truth)
    # highdicom orders planes by its own reading of positions.
    volume = seg.get_volume(combine_segments=True)
    affine = np.diag([-1, -1, 1, 1]) @ nib.load(folder / "l.nii.gz").affine
    voxels = np.argwhere(numbered)
    world = voxels[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    index = (world - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    assert np.abs(index - index.round()).max() < 1e-2, np.abs(index - index.round()).max()
    index = index.round().astype(int)
    got = volume.array[index[:, 0], index[:, 1], index[:, 2]]
    assert (got == numbered[tuple(voxels.T)]).all() and (volume.array > 0).sum() == len(voxels)
    references = {uid for _, _, uid in seg.get_source_image_uids()}
    assert references == set(files), (len(references), len(files))
    if len(files) == 1:
        pixels = seg.get_pixels_by_source_frame(
            first.SOPInstanceUID, list(range(1, int(first.NumberOfFrames) + 1)), combine_segments=True,
            assert_missing_frames_are_empty=True, ignore_spatial_locations=True,
        )
        assert sorted(map(int, pixels.sum((1, 2)))) == sorted(map(int, numbered.sum((1, 2))))
    else:
        normal = np.cross(*np.array(first.ImageOrientationPatient, float).reshape(2, 3))
        order = sorted(files, key=lambda u: normal @ np.array(files[u].ImagePositionPatient, float))
        pixels = seg.get_pixels_by_source_instance(
            order, combine_segments=True, assert_missing_frames_are_empty=True
        )
        assert (pixels == numbered).all(), folder

    rt = pydicom.dcmread(folder / "rtstruct.dcm")
    assert rt.PatientID == first.get("PatientID", "") and rt.StudyInstanceUID == first.StudyInstanceUID
    names = [roi.ROIName for roi in rt.StructureSetROISequence]
    assert names == labels
    inverse = np.linalg.inv(affine)
    outlines = 0
    for roi, value in zip(rt.ROIContourSequence, [1, 2, 7]):
        mask = np.zeros(truth.shape, bool)
        for contour in roi.ContourSequence:
            assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in files
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            voxel = points @ inverse[:3, :3].T + inverse[:3, 3]
            z = int(round(voxel[0, 2]))
            assert np.abs(voxel[:, 2] - z).max() < 1e-2
            # Every centre within the polygon, by the even-odd rule.
            low = np.floor(voxel[:, :2].min(0)).astype(int)
            high = np.ceil(voxel[:, :2].max(0)).astype(int)
            xs, ys = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
            inside = points_in_poly(np.stack([xs.ravel(), ys.ravel()], 1), voxel[:, :2])
            inside &= (xs.ravel() >= 0) & (ys.ravel() >= 0)
            mask[z, ys.ravel()[inside], xs.ravel()[inside]] ^= True
            outlines += 1
        assert (mask == (truth == value)).all(), (folder, value, mask.sum(), (truth == value).sum())
    told = ""
    if len(files) > 1 and all("NumberOfFrames" not in ds for ds in files.values()):
        reader = RTStructBuilder.create_from(str(series), str(folder / "rtstruct.dcm"))
        assert reader.get_roi_names() == labels
        for name, value in [("ring", 1), ("blob", 7)]:
            mask = reader.get_roi_mask_by_name(name)
            # rt_utils draws with whole pixels, so that outlines themselves count as within.
            counted, wanted = mask.sum(), (truth == value).sum()
            told += f", rt_utils {name} {counted} of {wanted}"
            assert 0.9 < counted / wanted < 1.35, told
    print(f"{folder.name}: {len(files)} files, {len(voxels)} voxels, {outlines} outlines{told}")
