"""The layout of the page and the handlers of its buttons."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from hifacegan_plugin.app.backend import BOTH, FACES, WHOLE, Backend, Settings
from hifacegan_plugin.app.jobs import AbandonedError, Outcome, plan_job, restore_planned, zip_results
from hifacegan_plugin.app.previews import write_previews
from hifacegan_plugin.app.tables import FACE_HEADERS, FACE_TABLE, FILE_HEADERS, FILE_TABLE, face_rows, file_rows
from hifacegan_plugin.faces.dlib_models import FaceModelsMissingError
from hifacegan_plugin.images.files import SUFFIXES
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.restore.engines.devices import EngineError

HOUR, DAY = 3600, 86400  # seconds
ONE_AT_A_TIME: dict[str, Any] = {'concurrency_limit': 1, 'concurrency_id': 'restoring'}

INTRODUCTION = """# HiFaceGAN
Restores images with unknown, mixed degradations. Your images stay on the machine that serves this page."""


def build_page(backend: Backend) -> gr.Blocks:
    """Build the page: the settings, a tab that compares a few images with their results, and a tab for many images."""
    with gr.Blocks(title='HiFaceGAN', analytics_enabled=False, delete_cache=(HOUR, DAY)) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            controls = _add_settings(backend)
        with gr.Tab('Images'):
            _add_images(backend, controls)
        with gr.Tab('Batch'):
            _add_batch(backend, controls)

        def forget(request: gr.Request) -> None:
            shutil.rmtree(backend.session_folder(request.session_hash), ignore_errors=True)

        page.unload(forget)
    return page


def _add_settings(backend: Backend) -> list[Component]:
    """Add the controls of :class:`Settings`, in the order of its fields."""
    names = list(backend.networks)
    what = gr.Radio([WHOLE, FACES, BOTH], value=WHOLE, label='Restore', scale=2)
    network = gr.Dropdown(names, value=names[0], label='Network')
    face_network = gr.Dropdown(names, value='faces', label='Network for faces', interactive=False)
    strength = gr.Slider(0, 1, value=1, label='Strength')
    keep_identity = gr.Checkbox(
        label='Keep identity',
        info='lowers the strength where a face would look like another person',
        interactive=False,
    )

    def enable(chosen: str) -> tuple[gr.Dropdown, gr.Dropdown, gr.Checkbox]:
        faces = chosen != WHOLE
        return (
            gr.Dropdown(interactive=chosen != FACES),
            gr.Dropdown(interactive=faces),
            gr.Checkbox(interactive=faces),
        )

    what.change(enable, what, [network, face_network, keep_identity], api_visibility='private')
    return [what, network, face_network, strength, keep_identity]


def _add_images(backend: Backend, controls: list[Component]) -> None:
    with gr.Row():
        with gr.Column(scale=1):
            uploads, button = _add_uploads('Restore')
            results = gr.File(label='Results', file_count='multiple', interactive=False)
        with gr.Column(scale=2):
            choice = gr.Dropdown(label='Image shown', visible=False)
            slider = gr.ImageSlider(label='Before | after', interactive=False, max_height=640)
            faces = gr.Dataframe(headers=FACE_HEADERS, label=FACE_TABLE, interactive=False, visible=False)
    table = _add_file_table()
    restored = gr.State(list[Outcome]())

    def present(outcomes: list[Outcome], folder: Path) -> tuple[Any, ...]:
        for outcome in outcomes:
            if outcome.problem:
                gr.Warning(f'{outcome.source.name} {outcome.problem}', duration=None)
        good = [outcome for outcome in outcomes if outcome.target]
        names = [(outcome.source.name, index) for index, outcome in enumerate(good)]
        chosen = gr.Dropdown(names, value=0 if good else None, visible=len(good) > 1)
        return good, chosen, [str(outcome.target) for outcome in good], file_rows(outcomes)

    def show(good: list[Outcome], index: int | None) -> tuple[tuple[str, str] | None, gr.Dataframe]:
        if index is None:
            return None, gr.Dataframe(visible=False)
        outcome = good[index]
        with _errors_on_the_page():
            shown = write_previews(outcome, backend.max_pixels)
        return shown, gr.Dataframe(face_rows(outcome), visible=bool(outcome.faces))

    button.click(
        _restoring(backend, 'images', present), [uploads, *controls], [restored, choice, results, table],
        api_name='restore', show_progress_on=slider, **ONE_AT_A_TIME,
    ).success(show, [restored, choice], [slider, faces], api_name='show')  # fmt: skip
    choice.input(show, [restored, choice], [slider, faces], api_visibility='private')


def _add_batch(backend: Backend, controls: list[Component]) -> None:
    uploads, button = _add_uploads('Restore all')
    stop = gr.Button('Stop')
    table = _add_file_table()
    archive = gr.File(label='Results', interactive=False, height=120)

    def present(outcomes: list[Outcome], folder: Path) -> tuple[Any, ...]:
        return file_rows(outcomes), zip_results(folder)

    def present_progress(outcomes: list[Outcome]) -> tuple[Any, ...]:
        return file_rows(outcomes), None

    def collect(request: gr.Request) -> str | None:
        with _errors_on_the_page():
            archive = zip_results(backend.session_folder(request.session_hash) / 'batch')
        return archive

    started = button.click(
        _restoring(backend, 'batch', present, present_progress), [uploads, *controls], [table, archive],
        api_name='restore_batch', show_progress_on=table, **ONE_AT_A_TIME,
    )  # fmt: skip
    stop.click(collect, None, archive, cancels=started, api_visibility='private')


def _add_uploads(verb: str) -> tuple[gr.File, gr.Button]:
    uploads = gr.File(label='Images', file_count='multiple', file_types=list(SUFFIXES), height=200)
    return uploads, gr.Button(verb, variant='primary')


def _add_file_table() -> gr.Dataframe:
    return gr.Dataframe(headers=FILE_HEADERS, label=FILE_TABLE, interactive=False, wrap=True)


def _restoring(
    backend: Backend,
    tab: str,
    present: Callable[[list[Outcome], Path], tuple[Any, ...]],
    present_progress: Callable[[list[Outcome]], tuple[Any, ...]] | None = None,
) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """Return the handler of a button, which restores the uploads with the current settings.

    Args:
        backend: backend that restores them.
        tab: name of the tab's folder inside the folder of the session.
        present: takes all outcomes and the folder of the job; returns the final values of the output components.
        present_progress: takes the outcomes so far; returns the values of the output components after each image.
    """

    def restore(
        files: list[str] | None,
        what: str,
        network: str,
        face_network: str,
        strength: float,
        keep_identity: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple[Any, ...]]:
        if not files:
            raise gr.Error('Choose an image first.', print_exception=False)
        folder = backend.session_folder(request.session_hash) / tab
        outcomes = list[Outcome]()
        with _errors_on_the_page():
            planned = plan_job(files, folder)
            settings = Settings(what, network, face_network, strength, keep_identity)
            work = restore_planned(planned, backend.file_restorer(settings))
            for outcome in progress.tqdm(work, total=len(planned.failures + planned.tasks), unit='images'):
                outcomes.append(outcome)
                if present_progress:
                    yield present_progress(outcomes)
            yield present(outcomes, folder)

    return restore


@contextmanager
def _errors_on_the_page() -> Iterator[None]:
    """Show errors that users can understand on the page."""
    try:
        yield
    except (FaceModelsMissingError, EngineError) as error:
        raise gr.Error(str(error), print_exception=False) from error
    except ImageError as error:
        raise gr.Error(f'The image cannot be shown: it {error}.', print_exception=False) from error
    except FileNotFoundError as error:
        raise gr.Error('The uploads have been removed: upload them again.', print_exception=False) from error
    except OSError as error:
        raise gr.Error(f'The server cannot store the files ({error.strerror}).', print_exception=False) from error
    except AbandonedError as error:
        raise gr.Error('The page was closed.', print_exception=False) from error
