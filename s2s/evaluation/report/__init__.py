"""Reports: tables for the terminal, pictures and data files, and one self-contained HTML page.

`results` holds the content of a report; `palette` fixes the look of a system everywhere; `canvas` sets up all pictures;
`prose` has the sentences about the numbers.
"""
