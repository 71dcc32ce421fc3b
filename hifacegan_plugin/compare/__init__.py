"""``hifacegan compare``: one table and one page of several restorers on the same pictures, machine and run.

The steps, a module each: read the options (``comparison``), write the pictures of the test sets out (``test_sets``),
restore them, every restorer in a process of its own (``restorers``, ``worker``), measure (``measuring``,
``intervals``, ``results``), show (``tables``, ``page``). What is done lies in the output folder (``folder``),
so that a run that was stopped goes on where it was.
"""
