"""Decoding, encoding and rendering of pixels, in processes of their own.

Codecs are written in C and fed with files from everywhere: a hostile or broken one may crash, hang or eat all memory. Here it
costs one job of one worker process, which is ended and replaced; the service goes on.

    pool.py         what the server calls: jobs, limits, replacement of workers
    worker.py       what runs in the worker process
    transcoding.py  Part 10 files in other transfer syntaxes, single frames (worker side)
    rendering.py    images that a browser can show (worker side)
"""
