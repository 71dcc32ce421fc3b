"""``hifacegan compare``: compare restorers on the same images, on one machine and in one run.

``runner`` reads the options (``comparison``), writes the images of the test sets (``image_sets``), restores them with
each restorer in its own process (``methods``, ``job``, ``server``, ``worker``) or copies existing results
(``given_results``), measures them (``evaluation``, ``intervals``, ``results``), and writes tables and an HTML page
(``tables``, ``page``). Progress is kept in the output folder (``folder``), so that an interrupted run can be resumed.
``report`` implements ``hifacegan report``.
"""
