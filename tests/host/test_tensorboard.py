"""A TensorBoard writer whose disk is full for a while, and then is not."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter

from hifacegan_plugin.host import tensorboard as patient_writer


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')  # of the writer's thread
def test_a_full_disk_costs_a_minute_of_events_and_no_error(tmp_path, monkeypatch, caplog):
    now, full, write = [0.0], [False], RecordWriter.write
    monkeypatch.setattr(patient_writer.time, 'monotonic', lambda: now[0])

    def write_if_there_is_room(self, data):
        if full[0]:
            raise OSError(28, 'No space left on device')
        write(self, data)

    monkeypatch.setattr(RecordWriter, 'write', write_if_there_is_room)
    writer = patient_writer.PatientWriter(SummaryWriter(tmp_path))
    assert writer.log_dir == tmp_path
    writer.add_scalar('loss', 1.0, 1)
    writer.flush()
    full[0] = True
    for step in range(2, 50):
        writer.add_scalar('loss', 1.0, step)
    writer.flush()  # the thread has met the error by now
    assert caplog.text.count('TensorBoard cannot be written') == 1
    full[0] = False
    writer.add_scalar('loss', 1.0, 50)  # within the minute
    now[0] = 61
    writer.add_scalar('loss', 1.0, 51)
    writer.close()
    assert [scalar.step for scalar in EventAccumulator(str(tmp_path)).Reload().Scalars('loss')] == [1, 51]
    assert len(list(tmp_path.iterdir())) == 2
