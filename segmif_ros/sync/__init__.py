# SPDX-License-Identifier: Apache-2.0
"""Do two cameras have the same time: rates, drops, frozen frames, the offset of their clocks."""
