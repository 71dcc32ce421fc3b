"""``hifacegan compare``: one table and one page of several restorers on the same images, machine and run.

The steps of ``runner``: read the options (``comparison``), write out the images of the test sets (``image_sets``),
restore them, each restorer in a process of its own (``methods``, ``job``, ``server``, ``worker``), or take results made
elsewhere (``given_results``), measure (``evaluation``, ``intervals``, ``results``), show (``tables``, ``page``). What
is done lies in the output folder (``folder``), so that a run that was stopped continues where it was. ``report`` is
``hifacegan report``.
"""
