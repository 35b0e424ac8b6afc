"""exoscope: which mailboxes may this application reach, and is that really so?"""
