"""An import: the file page by page, in order, going on where a crash left it."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.imports import ImportRequest, Imports
    from workflows.policies import IMPORT_HEARTBEAT, PAGE_RETRY, PAGE_TIMEOUT, PAGES_PER_RUN_MAX
    from workflows.trouble import Trouble, persist


@workflow.defn(name="Import")
class ImportWorkflow:
    """Id `import:{id}`. Its file, mapping, counts and refused rows are in the database."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, request: ImportRequest) -> None:
        for _ in range(PAGES_PER_RUN_MAX):
            progress = await persist(
                self._trouble,
                Imports.import_page,
                request,
                start_to_close_timeout=PAGE_TIMEOUT,
                heartbeat_timeout=IMPORT_HEARTBEAT,
                retry_policy=PAGE_RETRY,
            )
            if progress.next_row is None:
                return
            request = replace(request, first_row=progress.next_row)
        workflow.continue_as_new(request)
