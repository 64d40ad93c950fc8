# SPDX-License-Identifier: Apache-2.0
"""What registration refuses."""

from __future__ import annotations


class RegistrationError(ValueError):
    """A calibration cannot be read, or does not fit the frames; the message names the value."""
