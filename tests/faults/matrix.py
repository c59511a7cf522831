"""The fault matrix: every reader, command and stage against bad input and bad luck."""

from tests.faults import (
    matrix_argoverse2,
    matrix_commands,
    matrix_datasets,
    matrix_ddad,
    matrix_kitti,
    matrix_kitti360,
    matrix_makers,
    matrix_nuscenes,
    matrix_pandaset,
    matrix_rosbag,
    matrix_runs,
    matrix_stages,
    matrix_sweeps,
    matrix_waymo,
    matrix_zod,
)
from tests.faults import matrix_nuscenes_values as values
from tests.faults.rows import CommandFault, Elsewhere, ReaderFault, Row

READER_FAULTS: tuple[ReaderFault, ...] = (
    *matrix_nuscenes.MISSING,
    *matrix_nuscenes.TRUNCATED,
    *matrix_nuscenes.WRONG_TYPE,
    *matrix_nuscenes.WRONG_UNIT,
    *values.OUT_OF_RANGE,
    *values.NOT_A_NUMBER,
    *values.DUPLICATED,
    *values.UNSORTED,
    *values.HOSTILE,
    *matrix_sweeps.FAULTS,
    *matrix_ddad.FAULTS,
    *matrix_pandaset.FAULTS,
    *matrix_pandaset.BOX_FAULTS,
    *matrix_kitti.FAULTS,
    *matrix_kitti.BOX_FAULTS,
    *matrix_kitti.SEQUENCE_FAULTS,
    *matrix_kitti360.FAULTS,
    *matrix_kitti360.BOX_FAULTS,
    *matrix_waymo.FAULTS,
    *matrix_argoverse2.FAULTS,
    *matrix_argoverse2.BOX_FAULTS,
    *matrix_rosbag.FAULTS,
    *matrix_zod.FAULTS,
    *matrix_zod.BOX_FAULTS,
)
COMMAND_FAULTS: tuple[CommandFault, ...] = (
    *matrix_commands.PROCESS,
    *matrix_stages.FAULTS,
    *matrix_runs.RUNS,
    *matrix_makers.MAKERS,
    *matrix_datasets.DATASETS,
)
ELSEWHERE: tuple[Elsewhere, ...] = matrix_stages.TESTED_ELSEWHERE
ROWS: tuple[Row, ...] = (*READER_FAULTS, *COMMAND_FAULTS, *ELSEWHERE)
