# SPDX-License-Identifier: Apache-2.0
"""The two cameras, their geometry and their pictures in order."""
