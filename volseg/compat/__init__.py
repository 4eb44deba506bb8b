"""Parts of libraries that their documentation does not promise, a file for each library.

Nothing else in volseg touches an attribute with a leading underscore of what is not its own. Each
file says in which version its parts were seen, and a test of each fails where a library drops one.
"""
